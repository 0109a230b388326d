import { Counter, Gauge, type Registry } from '@parley/service-kit'
import type { Collections } from './database/collections.ts'

/** Milliseconds that the database may take to say how many rows there are. */
const TIMEOUT_MS = 1_000

/** The api's own figures: what it stored and could not tell of at once. */
export function createApiMetrics(registry: Registry, { outbox }: Pick<Collections, 'outbox'>) {
  const registers = [registry]
  const unpublished = new Counter({
    name: 'api_publish_failures_total',
    help: 'Attempts to publish an event that failed; it is tried again until it gets through',
    registers,
  })
  new Gauge({
    name: 'api_outbox_rows',
    help: 'Changes that wait to be published; left out while MongoDB does not answer',
    registers,
    async collect() {
      const rows = await outbox.estimatedDocumentCount({ timeoutMS: TIMEOUT_MS }).catch(() => null)
      if (rows !== null) this.set(rows)
      else this.remove()
    },
  })
  return { unpublished: (events: number) => unpublished.inc(events) }
}
