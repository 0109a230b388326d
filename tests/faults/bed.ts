import { randomBytes } from 'node:crypto'
import { type Stack, type StackOptions, startStack } from '@parley/devstack'
import { createBareMember } from '../support/bare-member.ts'
import { createHttp, type Http } from '../support/http.ts'
import type { Delivered, Member } from '../support/member.ts'
import { participantOf } from '../support/participant.ts'
import { INSPECTABLE } from '../support/process.ts'
import { rotated } from '../support/rotated.ts'
import { createSdkMember } from '../support/sdk-member.ts'

export type MemberKind = 'bare' | 'sdk'

/** A stack that is made to suffer, with the people on it. */
export interface Bed {
  stack: Stack
  org: string
  /** Where clients go; with proxies in between these differ from the stack's own. */
  apiUrls: readonly string[]
  gatewayUrls: readonly string[]
  /** Names here and below: `ada`, a person, or `agent:helper`. */
  token(name: string, roles?: string[]): string
  http(name: string, roles?: string[]): Http
  /** A new conversation of these people; the first one owns it. */
  conversation(people: readonly string[]): Promise<string>
  /** Someone who starts on the gateway of that number. */
  member(kind: MemberKind, name: string, conversationId: string, gateway: number): Member
  /** All that is stored, in order. */
  stored(conversationId: string, owner: string): Promise<Delivered[]>
  close(): Promise<void>
}

/** Limits would only slow the tests down; rows about limits set their own. */
export const UNLIMITED = {
  RATE_LIMIT_REST: '0',
  RATE_LIMIT_SEND: '0',
  RATE_LIMIT_EVENTS: '0',
  RATE_LIMIT_CONNECT: '0',
}

export async function startBed(options: StackOptions = {}): Promise<Bed> {
  const stack = await startStack({
    apis: 2,
    gateways: 2,
    workers: 1,
    nodeFlags: [INSPECTABLE],
    ...options,
    env: { ...UNLIMITED, LOG_LEVEL: 'warn', ...options.env },
  })
  return makeBed(stack, stack.apiUrls, stack.gatewayUrls, () => stack.close())
}

export function makeBed(
  stack: Stack,
  apiUrls: readonly string[],
  gatewayUrls: readonly string[],
  close: () => Promise<void>,
): Bed {
  const org = `org-${randomBytes(4).toString('hex')}`
  /** All that were made: a row that ends by an error has closed none of them. */
  const members: Member[] = []
  const token = (name: string, roles?: string[]) => {
    const { type, id } = participantOf(name)
    return stack.token({
      sub: id,
      type,
      orgId: org,
      name: id,
      expiresIn: 80_000,
      ...(roles ? { roles } : {}),
    })
  }
  const http = (name: string, roles?: string[]) => createHttp(apiUrls, token(name, roles))
  return {
    stack,
    org,
    apiUrls,
    gatewayUrls,
    token,
    http,
    async conversation(people) {
      const [owner = '', ...others] = people
      const participants = others.map((name) => ({ ...participantOf(name), role: 'member' }))
      // An externalId, so that a repeat after a lost answer finds the first one.
      const externalId = randomBytes(8).toString('hex')
      const body = { title: 'Chat', externalId, participants: participants.slice(0, 100) }
      const { id } = await http(owner).sure<{ id: string }>('POST', '/conversations', body)
      for (const more of participants.slice(100)) {
        await http(owner).sure('POST', `/conversations/${id}/participants`, more)
      }
      return id
    },
    member(kind, name, conversationId, gateway) {
      const create = kind === 'bare' ? createBareMember : createSdkMember
      const made = create({
        name,
        conversationId,
        apiUrls,
        gatewayUrls: rotated(gatewayUrls, gateway),
        token: token(name),
      })
      members.push(made)
      return made
    },
    async stored(conversationId, owner) {
      const all: Delivered[] = []
      for (;;) {
        const after = all.at(-1)?.seq ?? 0
        const path = `/messages/conversation/${conversationId}?after=${after}&limit=100`
        const { data, page } = await http(owner).sure<{ data: Delivered[]; page: { hasMore: boolean } }>(
          'GET',
          path,
        )
        all.push(...data.map(({ id, seq, clientMessageId }) => ({ id, seq, clientMessageId })))
        if (!page.hasMore || data.length === 0) return all
      }
    },
    async close() {
      for (const member of members) member.close()
      await close()
    },
  }
}
