import type { InternalSummaryWrite, SummaryNote, SummaryWork } from '@parley/contract'
import type { Logger } from '@parley/service-kit'
import { compose, told } from './extractive/compose.ts'
import { mergeNotes, takeNotes } from './extractive/notes.ts'
import type { WorkerMetrics } from './metrics.ts'
import type { Model } from './model/model.ts'
import { carryOn } from './model/sections.ts'

export type Summary = Pick<InternalSummaryWrite, 'text' | 'notes' | 'source' | 'model' | 'usage'>
export type Summarise = (work: SummaryWork, signal: AbortSignal) => Promise<Summary>

export interface SummariseOptions {
  model?: Model | undefined
  /** Characters of a summary, 200 or more. */
  length: number
  logger: Logger
  metrics: WorkerMetrics
}

/**
 * One step: notes are taken from what is new; the model writes the summary; without a model, or if it fails, the
 * summary is put together from the notes. A failing model is logged and counted, never a reason for no summary.
 */
export function createSummarise({ model, length, logger, metrics }: SummariseOptions): Summarise {
  return async (work, signal) => {
    const notes = mergeNotes(work.notes, takeNotes(work.messages))
    const nothingNew = work.messages.length === 0 && work.previousSeq === work.coversSeq
    if (nothingNew) return { text: work.previousText, notes, source: 'extractive', model: null, usage: null }
    if (model) {
      try {
        const written = await model.summarise(work, signal)
        metrics.tokens.inc({ kind: 'input' }, written.usage.inputTokens)
        metrics.tokens.inc({ kind: 'output' }, written.usage.outputTokens)
        return { ...written, notes, source: 'model' }
      } catch (error) {
        signal.throwIfAborted()
        metrics.fallbacks.inc()
        logger.warn({ reason: reasonOf(error) }, 'the model did not summarise; using the extractive summary')
      }
    }
    const text =
      (model && carryOn(work.previousText, takenSince(notes, work), length)) ??
      compose(notes, work.recent, length)
    return { text, notes, source: 'extractive', model: null, usage: null }
  }
}

/** What the summary so far lacks, newest first. */
const takenSince = (notes: readonly SummaryNote[], work: SummaryWork): string[] =>
  notes
    .filter(({ seq }) => seq > work.previousSeq)
    .reverse()
    .map(told)

/** Name and status only: a provider's error may repeat what it was sent. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown'
  const status = 'statusCode' in error && typeof error.statusCode === 'number' ? ` ${error.statusCode}` : ''
  return `${error.name}${status}`
}
