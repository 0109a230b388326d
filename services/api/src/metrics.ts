import { Counter, Gauge, type Registry } from '@parley/service-kit'
import type { Collections } from './database/collections.ts'

/** Milliseconds that the database may take to count rows. */
const TIMEOUT_MS = 1_000

/** The api's own figures: what it stored but could not publish at once. */
export function createApiMetrics(registry: Registry, { outbox }: Pick<Collections, 'outbox'>) {
  const registers = [registry]
  const unpublished = new Counter({
    name: 'api_publish_failures_total',
    help: 'Failed attempts to publish events; each is retried until it gets through',
    registers,
  })
  new Gauge({
    name: 'api_outbox_rows',
    help: 'Changes waiting to be published; absent while MongoDB does not answer',
    registers,
    async collect() {
      const rows = await outbox.estimatedDocumentCount({ timeoutMS: TIMEOUT_MS }).catch(() => null)
      if (rows !== null) this.set(rows)
      else this.remove()
    },
  })
  return { unpublished: (events: number) => unpublished.inc(events) }
}
