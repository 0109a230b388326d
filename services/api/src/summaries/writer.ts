import { type InternalSummaryWrite, LIMITS, ProblemError } from '@parley/contract'
import { ObjectId } from 'mongodb'
import type { Changes } from '../changes/changes.ts'
import type { Collections, SummaryDocument } from '../database/collections.ts'
import type { Pricing } from '../money/prices.ts'
import { wantedSeq } from './work.ts'

export interface SummaryWriterOptions {
  summaries: Collections['summaries']
  changes: Changes
  pricing: Pricing
}

export type SummaryWriter = ReturnType<typeof createSummaryWriter>

/**
 * Stores summaries, each once: a write counts only while the head still shows what the summary was made from. Its cost
 * is recorded with the summary and in the audit, apart from that of messages.
 */
export function createSummaryWriter({ summaries, changes, pricing }: SummaryWriterOptions) {
  /** False: another worker was first, the content changed, or the conversation is gone. */
  return function write(summary: InternalSummaryWrite): Promise<boolean> {
    const cid = new ObjectId(summary.conversationId)
    const { coversSeq, contentRev, throughSeq, previousSeq, text, notes, source, model, usage } = summary
    const costMicros = usage ? pricing(usage, model ?? undefined) : 0
    const applied = changes.apply(cid, {
      by: null,
      async run({ head, session, now }) {
        const stillTrue =
          head.summaryCoversSeq === coversSeq &&
          head.contentRev === contentRev &&
          throughSeq >= coversSeq &&
          (throughSeq > coversSeq || head.summaryContentRev !== contentRev) &&
          throughSeq <= head.settledSeq
        if (!stillTrue) return { value: false }

        const document: SummaryDocument = {
          _id: new ObjectId(),
          cid,
          org: head.org,
          bucket: Math.floor(throughSeq / LIMITS.summaryBucket),
          throughSeq,
          text,
          notes,
          contentRev,
          // Nothing that it covers has changed since it was read, or contentRev would differ.
          changeSeq: head.changeSeq,
          by: source,
          inputTokens: usage?.inputTokens ?? 0,
          outputTokens: usage?.outputTokens ?? 0,
          costMicros,
          createdAt: now,
        }
        if (model !== null) document.model = model
        if (previousSeq < coversSeq) {
          await summaries.deleteMany({ cid, throughSeq: { $gt: previousSeq } }, { session })
        } else if (coversSeq > 0) {
          await summaries.updateOne({ cid, throughSeq: coversSeq }, { $unset: { notes: 1 } }, { session })
        }
        await summaries.insertOne(document, { session })

        head.summary = text
        head.summaryCoversSeq = throughSeq
        head.summaryContentRev = contentRev
        if (throughSeq >= wantedSeq(head)) {
          delete head.summaryDue
          delete head.summaryWantedSeq
        } else {
          head.summaryDue = true
        }
        return {
          value: true,
          effect: {
            kind: 'conversation.updated',
            action: 'conversation.summarize',
            changed: ['contextSummary', 'summaryCoversSeq'],
            before: { summaryCoversSeq: coversSeq },
            after: {
              summaryCoversSeq: throughSeq,
              by: source,
              ...(model === null ? {} : { model }),
              ...(usage ? { usage, cost: costMicros / 1e6 } : {}),
            },
          },
        }
      },
    })
    return applied.then(
      ({ value }) => value,
      (error: unknown) => {
        if (error instanceof ProblemError && error.code === 'not_found') return false
        throw error
      },
    )
  }
}
