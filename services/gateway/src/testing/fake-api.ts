import {
  type Change,
  type InternalBody,
  type InternalJoin,
  type InternalJoinResult,
  type InternalJoinsResult,
  type InternalPath,
  type InternalResult,
  isAdmin,
  type Message,
  type ParticipantRef,
  ProblemError,
  participantKey,
  problem,
  type Revocation,
  type RoomConversation,
} from '@parley/contract'
import { sampleMessage } from '@parley/contract/testing'
import type { ApiClient } from '@parley/service-kit'

export type FakeConversation = ReturnType<typeof createFakeConversation>

let ids = 0
export const newId = (): string => (++ids + Date.now() * 4_096).toString(16).padStart(24, '0')

/** A conversation as the api would keep it: the truth that clients' logs are compared with. */
export function createFakeConversation(orgId: string, participants: ParticipantRef[], agentId?: string) {
  const id = newId()
  const at = new Date(0).toISOString()
  const author = participants[0] ?? { type: 'user' as const, id: 'nobody' }
  /** By seq - 1; null: void. */
  const messages: (Message | null)[] = []
  let changeSeq = 0
  let ownChange: Change | null = null

  const view = (): RoomConversation => ({
    id,
    orgId,
    externalId: null,
    title: '',
    description: null,
    agentId: agentId ?? null,
    tags: [],
    metadata: {},
    status: 'active',
    participantCount: participants.length,
    participants: [],
    messageCount: 0,
    lastSeq: messages.findLast((message) => message !== null)?.seq ?? 0,
    changeSeq,
    lastMessage: null,
    usage: { inputTokens: 0, outputTokens: 0, totalTokens: 0 },
    totalCost: 0,
    contextSummary: null,
    summaryCoversSeq: 0,
    createdAt: at,
    createdBy: author,
    updatedAt: at,
    updatedBy: author,
  })

  return {
    id,
    orgId,
    agentId,
    participants,
    messages,
    /** How far participants have read, by key. */
    readSeqs: new Map<string, number>(),
    deleted: false,
    get changeSeq() {
      return changeSeq
    },
    view,
    add(content: string): Message {
      const message = sampleMessage({
        id: newId(),
        conversationId: id,
        seq: messages.length + 1,
        participantType: author.type,
        participantId: author.id,
        content,
        createdAt: at,
      })
      messages.push(message)
      return message
    },
    addVoid(): number {
      return messages.push(null)
    },
    /** Edits a stored message; its number is the conversation's next change. */
    edit(message: Message): Message {
      changeSeq++
      const edited = { ...message, content: `edit ${changeSeq}`, changeSeq }
      messages[message.seq - 1] = edited
      return edited
    },
    touch(): number {
      changeSeq++
      ownChange = { changeSeq, kind: 'conversation.updated', conversation: view() }
      return changeSeq
    },
    remove(participant: ParticipantRef): number {
      changeSeq++
      participants.splice(
        participants.findIndex((one) => participantKey(one) === participantKey(participant)),
        1,
      )
      ownChange = { changeSeq, kind: 'participant.removed', conversation: view() }
      return changeSeq
    },
    changesAfter(after: number): Change[] {
      const edits = messages.flatMap((message): Change[] =>
        message && message.changeSeq > after
          ? [{ changeSeq: message.changeSeq, kind: 'message.updated', message }]
          : [],
      )
      const own = ownChange && ownChange.changeSeq > after ? [ownChange] : []
      return [...edits, ...own].sort((a, b) => a.changeSeq - b.changeSeq)
    },
  }
}

/** Answers a gateway's calls to the api from memory. */
export function createFakeApi() {
  const conversations = new Map<string, FakeConversation>()
  const calls: string[] = []
  const revocations: Revocation[] = []
  let away = false
  /** Runs before each answer is made, for whatever should happen in between. */
  let before: (path: string) => Promise<void> | void = () => undefined
  /** Runs once an answer is made, before it is given. */
  let after: (path: string) => Promise<void> | void = () => undefined

  function find(id: string): FakeConversation {
    const conversation = conversations.get(id)
    if (!conversation || conversation.deleted) throw problem('not_found')
    return conversation
  }

  const stored = ({ messages }: FakeConversation) => messages.filter((message) => message !== null)
  const end = (conversation: FakeConversation) => ({
    lastSeq: stored(conversation).at(-1)?.seq ?? 0,
    throughSeq: conversation.messages.length,
    changeSeq: conversation.changeSeq,
  })

  function join(request: InternalJoin): InternalJoinResult {
    const conversation = find(request.conversationId)
    const { caller, afterSeq, afterChangeSeq } = request
    const takesPart = conversation.participants.some((one) => participantKey(one) === participantKey(caller))
    if (conversation.orgId !== caller.orgId || (!takesPart && !caller.roles.includes('admin'))) {
      throw problem('not_found')
    }
    const later = afterSeq === undefined ? [] : stored(conversation).filter(({ seq }) => seq > afterSeq)
    const messages = later.slice(0, 100)
    return {
      role: takesPart ? 'member' : null,
      ...end(conversation),
      readSeq: 0,
      unread: 0,
      messages,
      changes: afterChangeSeq === undefined ? [] : conversation.changesAfter(afterChangeSeq),
      hasMore: later.length > messages.length,
      receipts: conversation.participants.map(({ type, id }) => ({
        conversationId: conversation.id,
        participantType: type,
        participantId: id,
        userId: id,
        readSeq: conversation.readSeqs.get(participantKey({ type, id })) ?? 0,
      })),
      members: [...conversation.participants],
    }
  }

  function joins(request: { joins: InternalJoin[] }): InternalJoinsResult {
    const pages: InternalJoinsResult['pages'] = []
    const reads: InternalJoinsResult['reads'] = []
    return {
      pages,
      reads,
      answers: request.joins.map((one) => {
        try {
          const { messages, receipts, ...result } = join(one)
          return { result, page: pages.push(messages) - 1, read: reads.push(receipts) - 1 }
        } catch (error) {
          if (!(error instanceof ProblemError)) throw error
          return { problem: { code: error.code, detail: error.message } }
        }
      }),
    }
  }

  const answers: { [P in InternalPath]?: (body: InternalBody<P>) => InternalResult<P> } = {
    '/internal/join': join,
    '/internal/joins': joins,
    '/internal/fill': ({ conversationId, afterSeq, afterChangeSeq, limit }) => {
      const conversation = find(conversationId)
      const through = Math.min(conversation.messages.length, afterSeq + limit)
      const { lastSeq, changeSeq } = end(conversation)
      return {
        messages: stored(conversation).filter(({ seq }) => seq > afterSeq && seq <= through),
        changes: conversation.changesAfter(afterChangeSeq),
        throughSeq: through,
        throughChangeSeq: changeSeq,
        lastSeq,
        changeSeq,
      }
    },
    '/internal/heads': ({ ids }) => ({
      heads: ids.flatMap((id) => {
        const conversation = conversations.get(id)
        return conversation && !conversation.deleted ? [{ id, ...end(conversation) }] : []
      }),
    }),
    '/internal/authorize': (request) => {
      const { conversationId, callers } = request
      const conversation = conversations.get(conversationId)
      const exists = conversation !== undefined && !conversation.deleted
      const members = exists ? [...conversation.participants] : []
      const keys = new Set(members.map(participantKey))
      return {
        exists,
        allowed: callers.map((caller) => keys.has(participantKey(caller)) || (exists && isAdmin(caller))),
        ...(request.members ? { members } : {}),
      }
    },
    '/internal/added': ({ conversationId, people }) => {
      const conversation = conversations.get(conversationId ?? '')
      if (!conversation) return { added: [] }
      const asked = new Set(people.map(participantKey))
      const participants = conversation.participants.filter((one) => asked.has(participantKey(one)))
      return { added: [{ conversation: conversation.view(), participants }] }
    },
    '/internal/agents/ready': ({ caller }) => {
      const own = [...conversations.values()].find(({ agentId }) => agentId === caller.id)
      if (!own) throw problem('not_found')
      return {
        conversation: { ...own.view(), me: { role: 'owner', readSeq: 0, unread: 0 } },
        active: [],
      }
    },
    '/internal/reads': () => ({ receipts: [] }),
    '/internal/revocations': () => ({ revocations }),
  }

  const api: ApiClient = {
    async internal(path, body) {
      calls.push(path)
      await before(path)
      if (away) throw problem('unavailable')
      const answer = answers[path]
      if (!answer) throw problem('not_found')
      const made = JSON.stringify(answer(body))
      await after(path)
      return JSON.parse(made)
    },
    asCaller: () => Promise.reject(problem('unavailable')),
    reachable: () => !away,
    close: async () => undefined,
  }

  return {
    api,
    calls,
    revocations,
    add(conversation: FakeConversation): FakeConversation {
      conversations.set(conversation.id, conversation)
      return conversation
    },
    setAway(is: boolean): void {
      away = is
    },
    beforeEach(hook: (path: string) => Promise<void> | void): void {
      before = hook
    },
    afterEach(hook: (path: string) => Promise<void> | void): void {
      after = hook
    },
  }
}
