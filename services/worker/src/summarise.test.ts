import { createLogger, createRegistry } from '@parley/service-kit'
import { expect, test } from 'vitest'
import { createWorkerMetrics } from './metrics.ts'
import type { Model } from './model/model.ts'
import { createSummarise } from './summarise.ts'
import { workOf } from './testing/work.ts'

const signal = new AbortController().signal
const logged: string[] = []

function summariseWith(summarise: Model['summarise']) {
  const registry = createRegistry('worker')
  const metrics = createWorkerMetrics(registry)
  const logger = createLogger({ name: 'test', level: 'silent' })
  logger.warn = (details: unknown) => void logged.push(JSON.stringify(details))
  return {
    registry,
    run: createSummarise({ model: { summarise, isOpen: () => false }, length: 2_000, logger, metrics }),
  }
}

test('a model that fails is replaced by the extractive summary, which says so, in the log and the metrics too', async () => {
  const { registry, run } = summariseWith(() => Promise.reject(new Error('CANARY from the provider')))
  const summary = await run(workOf(['We agreed on 3 May 2027.']), signal)
  expect(summary).toMatchObject({ source: 'extractive', model: null, usage: null })
  expect(summary.text).toContain('3 May 2027')
  expect(await registry.metrics()).toMatch(/summary_model_fallbacks_total\{[^}]*\} 1/)
  expect(logged.join()).toContain('Error')
  expect(logged.join()).not.toContain('CANARY')
})

test('a worker that has to end does not replace the model’s pending summary by an extractive one', async () => {
  const stopping = new AbortController()
  const { registry, run } = summariseWith(() => {
    stopping.abort(new Error('going'))
    return Promise.reject(new Error('cut off'))
  })
  await expect(run(workOf(['We agreed on 3 May 2027.']), stopping.signal)).rejects.toThrow('going')
  expect(await registry.metrics()).not.toMatch(/summary_model_fallbacks_total\{[^}]*\} 1/)
})

test('what the model used is counted, and notes are taken all the same', async () => {
  const usage = { inputTokens: 70, outputTokens: 8, totalTokens: 78 }
  const { registry, run } = summariseWith(async () => ({ text: 'Goal:\n- x', model: 'small', usage }))
  const summary = await run(workOf(['We agreed on 3 May 2027.']), signal)
  expect(summary).toMatchObject({ source: 'model', model: 'small', usage, notes: [{ seq: 1 }] })
  expect(await registry.metrics()).toMatch(/summary_tokens_total\{[^}]*kind="input"[^}]*\} 70/)
})

test('a bucket in which nothing was said costs no call and keeps the summary', async () => {
  const { run } = summariseWith(() => Promise.reject(new Error('not to be asked')))
  const work = workOf([], { coversSeq: 10, previousSeq: 10, throughSeq: 20, previousText: 'as before' })
  expect(await run(work, signal)).toMatchObject({ text: 'as before' })
})

test('an outage of the model keeps what it found out before, and adds what is new', async () => {
  const { run } = summariseWith(() => Promise.reject(new Error('away')))
  const previousText = 'Goal:\n- Move to Freiburg\n\nOpen questions:\n- Who carries the piano?'
  const first = await run(
    workOf(['The keys are handed over on 14 May 2027.'], { previousText, previousSeq: 0, coversSeq: 0 }),
    signal,
  )
  expect(first.source).toBe('extractive')
  expect(first.text).toBe(
    'Goal:\n- Move to Freiburg\n\nOpen questions:\n- Who carries the piano?\n\nKey facts:\n- ada: The keys are handed over on 14 May 2027.',
  )
  const more = workOf(['The movers cost $1,800.'], {
    previousText: first.text,
    notes: first.notes,
    previousSeq: 1,
  })
  const second = await run({ ...more, messages: more.messages.map((each) => ({ ...each, seq: 11 })) }, signal)
  for (const kept of ['Move to Freiburg', 'Who carries the piano?', '14 May 2027', '$1,800']) {
    expect(second.text).toContain(kept)
  }
})
