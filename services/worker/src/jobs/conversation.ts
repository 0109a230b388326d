import type { InternalSummaryWrite } from '@parley/contract'
import type { ApiClient } from '@parley/service-kit'
import type { WorkerMetrics } from '../metrics.ts'
import type { Summarise } from '../summarise.ts'

/** `waiting`: a message is not final yet. `stopped`: there is more, but this process is shutting down. */
export type Outcome = 'current' | 'waiting' | 'stopped'

/** Consecutive times that another worker may be faster before the job is left to a later attempt. */
const MAX_CONFLICTS = 10

export interface ConversationSummaries {
  api: Pick<ApiClient, 'internal'>
  summarise: Summarise
  metrics: WorkerMetrics
  /** Aborted when this process has to end. */
  signal: AbortSignal
}

/**
 * Brings a conversation's summary up to date, a bucket at a time, until the api has nothing more to do in it. A job
 * says only where to look: what is due is read anew, so late, repeated and overtaken jobs do no harm. Rejects if the
 * api can't be reached or another worker always comes first.
 */
export async function summariseConversation(
  conversationId: string,
  { api, summarise, metrics, signal }: ConversationSummaries,
): Promise<Outcome> {
  const options = { key: conversationId }
  for (let conflicts = 0; conflicts < MAX_CONFLICTS; ) {
    if (signal.aborted) return 'stopped'
    const work = await api.internal('/internal/summaries/read', { conversationId }, options)
    if (work.state !== 'ready') return work.state
    const summary = await summarise(work, signal).catch((error: unknown) => {
      if (signal.aborted) return undefined
      throw error
    })
    if (!summary) return 'stopped'
    const write: InternalSummaryWrite = {
      conversationId,
      coversSeq: work.coversSeq,
      contentRev: work.contentRev,
      throughSeq: work.throughSeq,
      previousSeq: work.previousSeq,
      ...summary,
    }
    const { applied } = await api.internal('/internal/summaries/write', write, options)
    if (applied) metrics.summaries.inc({ source: summary.source })
    else metrics.conflicts.inc()
    conflicts = applied ? 0 : conflicts + 1
  }
  throw new Error(`Somebody else was first ${MAX_CONFLICTS} times in a row`)
}
