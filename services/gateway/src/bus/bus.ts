import type { Logger } from '@parley/service-kit'
import type { Redis } from 'ioredis'

/** Milliseconds between signs of life on the subscribing connection, which is dropped after 6 s of silence. */
const PING_MS = 2_000
/** Channels of one call: each is an argument of its own, of which a call takes some 100,000. */
const BATCH_SIZE = 1_000

export type Bus = ReturnType<typeof createBus>
export type BusHandler = (channel: string, payload: string) => void

/**
 * Fire-and-forget messages between gateways: Redis pub/sub, nothing stored, nothing repeated. A message is `<kind>
 * <payload>`; a gateway hears its own. While Redis is away nothing is heard; `onRestored` then says that messages may
 * have been missed.
 *
 * `subscriber` is a `subscribing` connection that nothing else uses, `publisher` a `fast` one.
 */
export function createBus({
  subscriber,
  publisher,
  logger,
}: {
  subscriber: Redis
  publisher: Redis
  logger: Logger
}) {
  const holders = new Map<string, { count: number; subscribed: Promise<void> }>()
  const handlers = new Map<string, BusHandler>()
  const restored: (() => void)[] = []

  async function subscribe(channel: string): Promise<void> {
    if (subscriber.status !== 'ready') return
    try {
      await subscriber.subscribe(channel)
    } catch (error) {
      logger.debug({ err: error, channel }, 'subscribing waits for the next connection')
    }
  }

  const onReady = () => {
    const channels = [...holders.keys()]
    if (channels.length === 0) return
    const calls: Promise<unknown>[] = []
    for (let at = 0; at < channels.length; at += BATCH_SIZE) {
      calls.push(subscriber.subscribe(...channels.slice(at, at + BATCH_SIZE)))
    }
    Promise.all(calls).then(
      () => {
        for (const listener of restored) listener()
      },
      (error: unknown) =>
        logger.debug({ err: error }, 'subscribing was interrupted; the next connection repeats it'),
    )
  }
  const onMessage = (channel: string, message: string) => {
    const space = message.indexOf(' ')
    const handler = handlers.get(message.slice(0, space))
    if (!handler) return
    try {
      handler(channel, message.slice(space + 1))
    } catch (error) {
      logger.error({ err: error, channel }, 'a message between gateways could not be handled')
    }
  }
  subscriber.on('ready', onReady)
  subscriber.on('message', onMessage)
  if (subscriber.status === 'ready') onReady()

  const pinging = setInterval(() => {
    if (subscriber.status !== 'ready') return
    subscriber.ping().catch((error: unknown) => logger.debug({ err: error }, 'no answer on the bus'))
  }, PING_MS)

  return {
    /**
     * Hears a channel until it is released as often as held. Resolves when subscribed; immediately if Redis is away.
     */
    hold(channel: string): Promise<void> {
      const held = holders.get(channel)
      if (held) {
        held.count += 1
        return held.subscribed
      }
      const subscribed = subscribe(channel)
      holders.set(channel, { count: 1, subscribed })
      return subscribed
    },

    release(channel: string): void {
      const held = holders.get(channel)
      if (!held) return
      held.count -= 1
      if (held.count > 0) return
      holders.delete(channel)
      if (subscriber.status !== 'ready') return
      subscriber.unsubscribe(channel).catch((error: unknown) => {
        logger.debug({ err: error, channel }, 'unsubscribing was interrupted')
      })
    },

    /** One handler per kind; a kind contains no space. */
    handle(kind: string, handler: BusHandler): void {
      handlers.set(kind, handler)
    },

    /** Best effort: what can't be sent now is gone. Resolves to whether it was sent. */
    publish(channel: string, kind: string, payload: string): Promise<boolean> {
      return publisher.publish(channel, busMessage(kind, payload)).then(
        () => true,
        (error: unknown) => {
          logger.debug({ err: error, channel }, 'a message between gateways was not sent')
          return false
        },
      )
    },

    /** Called when channels that were held before are subscribed on a new connection: after a break or on the first. */
    onRestored(listener: () => void): void {
      restored.push(listener)
    },

    /** Leaves the connections open: they belong to whoever made them. */
    close(): void {
      clearInterval(pinging)
      subscriber.off('ready', onReady)
      subscriber.off('message', onMessage)
    },
  }
}

/** The format, for scripts that publish by themselves. */
export const busMessage = (kind: string, payload: string): string => `${kind} ${payload}`
