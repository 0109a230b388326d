import type { Publisher } from '@parley/events'
import type { Logger } from '@parley/service-kit'
import type { Collections, MessageDocument, OutboxDocument } from '../database/collections.ts'
import type { EventBuilder } from './events.ts'

const LONG_AGO = new Date(0)

export interface OutboxOptions {
  outbox: Collections['outbox']
  publisher: Pick<Publisher, 'publish'>
  build: EventBuilder
  logger: Pick<Logger, 'debug'>
}

export type Outbox = ReturnType<typeof createOutbox>

/** Publishes committed changes, those of one conversation in order. What fails here is left to the relay. */
export function createOutbox({ outbox, publisher, build, logger }: OutboxOptions) {
  const turns = new Map<string, Promise<void>>()

  async function send(rows: readonly OutboxDocument[], messages: readonly MessageDocument[]): Promise<void> {
    await publisher.publish(await build(rows, messages))
    await outbox.deleteMany({ _id: { $in: rows.map(({ _id }) => _id) } })
  }

  /** Gives them up: from now on any relay may take them. */
  async function giveUp(rows: readonly OutboxDocument[]): Promise<void> {
    await outbox.updateMany({ _id: { $in: rows.map(({ _id }) => _id) } }, { $set: { createdAt: LONG_AGO } })
  }

  return {
    send,

    /** Publishes soon, in the background; `messages` are those that the rows concern, as committed. */
    publish(rows: readonly OutboxDocument[], messages: readonly MessageDocument[] = []): void {
      const [first] = rows
      if (!first) return
      const name = first.cid.toHexString()
      const turn: Promise<void> = (turns.get(name) ?? Promise.resolve())
        .then(() => send(rows, messages))
        .catch((error: unknown) => {
          logger.debug({ err: error, cid: name, changes: rows.length }, 'changes are left to the relay')
          return giveUp(rows)
        })
        .catch((error: unknown) => {
          logger.debug({ err: error, cid: name }, 'changes are left to the relay once they are old')
        })
        .finally(() => {
          if (turns.get(name) === turn) turns.delete(name)
        })
      turns.set(name, turn)
    },

    /** Resolves once nothing is under way. */
    async idle(): Promise<void> {
      while (turns.size > 0) await Promise.all(turns.values())
    },
  }
}
