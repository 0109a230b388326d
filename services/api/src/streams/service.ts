import type { KeyObject } from 'node:crypto'
import {
  type Caller,
  type InternalStreamCheckpoint,
  type InternalStreamFinish,
  type InternalStreamFinishResult,
  type InternalStreamStartResult,
  isAdmin,
  ProblemError,
  parseParticipantKey,
  participantKey,
  previewOf,
  problem,
  type StreamResult,
  type StreamStart,
} from '@parley/contract'
import { ObjectId } from 'mongodb'
import { recheckAllowed } from '../changes/authorize.ts'
import type { Changes } from '../changes/changes.ts'
import { textChanged } from '../changes/content.ts'
import type { Collections, MessageDocument } from '../database/collections.ts'
import { isVoid } from '../database/collections.ts'
import type { Appended } from '../messages/lanes.ts'
import type { AppendRequest } from '../messages/log.ts'
import { type MessageDraft, payloadHash, toMessage, toolCallsOf, totalOf } from '../messages/message.ts'
import type { Pricing } from '../money/prices.ts'
import type { Access } from '../participants/access.ts'

export type StreamService = ReturnType<typeof createStreamService>

export interface StreamServiceOptions extends Pick<Collections, 'messages'> {
  access: Pick<Access, 'require'>
  append(request: AppendRequest): Promise<Appended>
  changes: Changes
  pricing: Pricing
  hashKey: KeyObject
  /** Called when a summary that waited for the stream's end may continue; must not throw. */
  summaryDue(conversation: { cid: ObjectId; org: string; settledSeq: number }): void
}

/** Streamed answers: messages that begin empty, grow, and end once. */
export function createStreamService(options: StreamServiceOptions) {
  const { messages, access, append, changes, pricing, hashKey, summaryDue } = options

  /**
   * Begins an answer, or finds the one begun under the same key, whatever its state.
   * @throws ProblemError role_not_allowed (not an agent), and those of the message log
   */
  async function start(caller: Caller, request: StreamStart): Promise<InternalStreamStartResult> {
    if (caller.type !== 'agent') throw problem('role_not_allowed', { detail: 'Only agents stream answers' })
    const { conversationId, clientMessageId, parentId, model } = request
    const draft: MessageDraft = {
      _id: new ObjectId(),
      author: participantKey(caller),
      role: 'assistant',
      type: 'text',
      status: 'streaming',
      content: '',
      clientMessageId,
      payloadHash: payloadHash(hashKey, { stream: { parentId: parentId ?? null, model: model ?? null } }),
    }
    if (parentId) draft.parentId = new ObjectId(parentId)
    if (model) draft.model = model
    const cid = new ObjectId(conversationId)
    const { row, message, created } = await append({ org: caller.orgId, cid, draft, admin: isAdmin(caller) })
    if (created || row.status !== 'streaming') return { message, created }
    // The agent continues it: a sign of life, so that the sweeper leaves it alone.
    await messages.updateOne({ _id: row._id, status: 'streaming' }, { $set: { streamedAt: new Date() } })
    const now = await messages.findOne({ _id: row._id })
    return { message: now && !isVoid(now) ? toMessage(now) : message, created }
  }

  /**
   * Stores the text so far. False: the stream has ended, or ends here because its agent may no longer write. The next
   * checkpoint makes up for one lost in a failover, so it waits for no majority.
   */
  async function checkpoint(request: InternalStreamCheckpoint): Promise<boolean> {
    const { caller, conversationId, messageId, content } = request
    const [mayWrite, { matchedCount }] = await Promise.all([
      mayStream(caller, conversationId),
      messages.updateOne(
        { _id: new ObjectId(messageId), cid: new ObjectId(conversationId), status: 'streaming' },
        { $set: { content, streamedAt: new Date() } },
        { writeConcern: { w: 1 } },
      ),
    ])
    if (mayWrite) return matchedCount === 1
    await fail(conversationId, messageId, content)
    return false
  }

  async function mayStream(caller: Caller, conversationId: string): Promise<boolean> {
    try {
      await access.require(caller, conversationId, 'message:stream')
      return true
    } catch (error) {
      if (!(error instanceof ProblemError) || !['not_found', 'forbidden'].includes(error.code)) throw error
      return false
    }
  }

  /**
   * Ends a stream once, or, with `silentSince` or `silentMs`, not where it has given a sign of life since then. Who
   * comes later gets the stored message, and `won` false.
   * @throws ProblemError not_found, forbidden (not the author's to end so)
   */
  async function finish(
    request: InternalStreamFinish,
    silentSince = sinceOf(request),
  ): Promise<InternalStreamFinishResult> {
    const { status, result, caller } = request
    const id = new ObjectId(request.messageId)
    const by = caller && participantKey(caller)
    const { value, head, message } = await changes.apply(new ObjectId(request.conversationId), {
      by,
      async run(transaction) {
        const row = await transaction.message(id)
        if (caller) {
          const permission = status === 'cancelled' ? 'message:cancel' : 'message:read'
          await recheckAllowed(
            transaction,
            caller,
            permission,
            row ? parseParticipantKey(row.author) : undefined,
          )
        }
        if (!row) throw problem('not_found')
        if (status !== 'cancelled' && by !== null && row.author !== by) throw problem('forbidden')
        const isLive = silentSince && row.streamedAt && row.streamedAt >= silentSince
        if (row.status !== 'streaming' || isLive) return { value: { won: false, row } }
        const { head } = transaction
        const costBefore = row.costMicros ?? 0
        end(row, status, result)
        if (row.seq <= head.settledSeq) {
          // A message above it is counted when it is folded, in its state by then.
          head.inputTokens += row.usage?.inputTokens ?? 0
          head.outputTokens += row.usage?.outputTokens ?? 0
          head.totalTokens += row.usage?.totalTokens ?? 0
          head.costMicros += (row.costMicros ?? 0) - costBefore
        }
        if (head.lastMessage?.id.equals(row._id)) {
          head.lastMessage = { ...head.lastMessage, preview: previewOf(row) }
        }
        textChanged(head, row.seq)
        return {
          value: { won: true, row },
          effect: {
            kind: 'message.updated',
            action: 'message.finish',
            messageId: id,
            before: { status: 'streaming' },
            after: { status },
          },
        }
      },
    })
    if (value.won && head.summaryDue)
      summaryDue({ cid: head._id, org: head.org, settledSeq: head.settledSeq })
    return { message: toMessage(message ?? value.row), won: value.won }
  }

  function end(row: MessageDocument, status: MessageDocument['status'], result: StreamResult): void {
    row.status = status
    delete row.streamedAt
    // Whoever cuts it short may have read its text a while ago: what was stored since stays.
    const isBehind = status !== 'sent' && row.content.startsWith(result.content ?? '')
    if (result.content !== undefined && !isBehind) row.content = result.content
    if (result.thinking) row.thinking = result.thinking
    if (result.toolCalls?.length) row.toolCalls = toolCallsOf(result.toolCalls)
    if (result.usage) {
      row.usage = { ...result.usage, totalTokens: totalOf(result.usage) }
      row.costMicros = pricing(row.usage, row.model)
    }
  }

  /** Ends a stream that nobody may, or can, continue; false: it had ended, or gave a sign of life. */
  async function fail(
    conversationId: string,
    messageId: string,
    content: string,
    silentSince?: Date,
  ): Promise<boolean> {
    try {
      const end = { conversationId, messageId, status: 'failed', result: { content }, caller: null } as const
      const { won } = await finish(end, silentSince)
      return won
    } catch (error) {
      if (!(error instanceof ProblemError) || error.code !== 'not_found') throw error
      // The conversation is gone: nothing in it can change any more.
      await messages.updateOne(
        { _id: new ObjectId(messageId), status: 'streaming' },
        { $set: { status: 'failed' }, $unset: { streamedAt: 1 } },
      )
      return true
    }
  }

  return { start, checkpoint, finish, fail }
}

const sinceOf = ({ silentMs }: InternalStreamFinish): Date | undefined =>
  silentMs === undefined ? undefined : new Date(Date.now() - silentMs)
