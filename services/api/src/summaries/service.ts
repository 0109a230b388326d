import { setTimeout as delay } from 'node:timers/promises'
import { type Caller, type ConversationSummary, LIMITS } from '@parley/contract'
import type { ObjectId } from 'mongodb'
import type { Collections } from '../database/collections.ts'
import type { MessagePages } from '../messages/pages.ts'
import type { Access } from '../participants/access.ts'
import type { SummaryQueue } from './queue.ts'

/** Milliseconds that a caller may wait for a summary. */
const WAIT_MS = 30_000
const POLL_MS = { first: 25, max: 500 }

export interface SummaryServiceOptions {
  conversations: Collections['conversations']
  access: Access
  pages: Pick<MessagePages, 'decided'>
  queue: Pick<SummaryQueue, 'offer'>
  waitMs?: number
}

/** A summary has to reach this far and match the current content. */
export interface WantedSummary {
  caller: Caller
  cid: ObjectId
  throughSeq: number
  contentRev: number
}

export type SummaryService = ReturnType<typeof createSummaryService>

/** Decides when a conversation gets a summary. */
export function createSummaryService({
  conversations,
  access,
  pages,
  queue,
  waitMs = WAIT_MS,
}: SummaryServiceOptions) {
  const isMet = (
    { throughSeq, contentRev }: WantedSummary,
    head: { summaryCoversSeq: number; summaryContentRev?: number; contentRev: number },
  ): boolean =>
    head.summaryCoversSeq >= throughSeq &&
    (throughSeq === 0 || (head.summaryContentRev ?? 0) >= Math.min(contentRev, head.contentRev))

  async function met(wanted: WantedSummary): Promise<ConversationSummary | null> {
    const { head } = await access.require(wanted.caller, wanted.cid, 'conversation:summarize')
    if (!isMet(wanted, head)) return null
    return { contextSummary: head.summary ?? null, summaryCoversSeq: head.summaryCoversSeq }
  }

  return {
    /**
     * A conversation filled a bucket, or something that its summary covers changed. Returns at once, never throws;
     * `summaryDue` on the head is what guarantees the summary.
     */
    due({ cid, org, settledSeq }: { cid: ObjectId; org: string; settledSeq: number }): void {
      queue.offer({
        orgId: org,
        conversationId: cid.toHexString(),
        throughSeq: settledSeq - (settledSeq % LIMITS.summaryBucket),
      })
    },

    /**
     * Asks for a summary of everything up to now.
     * @throws ProblemError not_found, forbidden
     */
    async request(caller: Caller, conversationId: string): Promise<WantedSummary> {
      const { head } = await access.require(caller, conversationId, 'conversation:summarize')
      const throughSeq = await pages.decided(head)
      const wanted: WantedSummary = { caller, cid: head._id, throughSeq, contentRev: head.contentRev }
      if (isMet(wanted, head)) return wanted
      await conversations.updateOne(
        { _id: head._id },
        { $set: { summaryDue: true }, $max: { summaryWantedSeq: throughSeq } },
      )
      queue.offer({ orgId: head.org, conversationId: head._id.toHexString(), throughSeq })
      return wanted
    },

    /**
     * Waits for the requested summary; null after 30 s, or once `signal` aborts.
     * @throws ProblemError not_found, forbidden, also if that has become so meanwhile
     */
    async wait(wanted: WantedSummary, signal: AbortSignal): Promise<ConversationSummary | null> {
      const deadline = Date.now() + waitMs
      for (let pause = POLL_MS.first; ; pause = Math.min(pause * 1.5, POLL_MS.max)) {
        const summary = await met(wanted)
        if (summary) return summary
        if (signal.aborted || Date.now() + pause > deadline) return null
        await delay(pause)
      }
    },
  }
}
