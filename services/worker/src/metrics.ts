import { Counter, Gauge, Histogram, type Registry } from '@parley/service-kit'
import type { QueueView } from './jobs/queue-view.ts'

export type WorkerMetrics = ReturnType<typeof createWorkerMetrics>

/** What the worker counts. */
export function createWorkerMetrics(registry: Registry) {
  const registers = [registry]
  return {
    jobSeconds: new Histogram({
      name: 'summary_job_duration_seconds',
      help: 'Time of one run of a summary job, by how it ended',
      labelNames: ['outcome'],
      buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60],
      registers,
    }),
    summaries: new Counter({
      name: 'summaries_written_total',
      help: 'Summaries stored, by what made them',
      labelNames: ['source'],
      registers,
    }),
    conflicts: new Counter({
      name: 'summary_conflicts_total',
      help: 'Summaries not stored because the conversation had moved on',
      registers,
    }),
    failures: new Counter({
      name: 'summary_job_failures_total',
      help: 'Runs of a summary job that failed, retries included',
      registers,
    }),
    fallbacks: new Counter({
      name: 'summary_model_fallbacks_total',
      help: 'Summaries made without the model because it failed',
      registers,
    }),
    tokens: new Counter({
      name: 'summary_tokens_total',
      help: 'Tokens that the model used, as it reports them',
      labelNames: ['kind'],
      registers,
    }),
  }
}

/** Jobs by state, asked for when the metrics are read; left out while Redis does not answer. */
export function observeQueue(registry: Registry, queue: Pick<QueueView, 'counts'>): void {
  new Gauge({
    name: 'summary_queue_jobs',
    help: 'Summary jobs by state',
    labelNames: ['state'],
    registers: [registry],
    async collect() {
      this.reset()
      for (const { state, jobs } of (await queue.counts()) ?? []) this.set({ state }, jobs)
    },
  })
}

/** 1 while the circuit breaker is open or the endpoint’s Retry-After runs. */
export function observeModel(registry: Registry, isOpen: () => boolean): void {
  new Gauge({
    name: 'summary_model_circuit_open',
    help: 'Whether the model is not being asked at the moment',
    registers: [registry],
    collect() {
      this.set(isOpen() ? 1 : 0)
    },
  })
}
