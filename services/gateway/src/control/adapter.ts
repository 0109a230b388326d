import type { Logger } from '@parley/service-kit'
import { createShardedAdapter } from '@socket.io/redis-adapter'
import type { Redis } from 'ioredis'
import type { ServerOptions } from 'socket.io'

type AdapterFactory = NonNullable<ServerOptions['adapter']>
type Listener = (...args: unknown[]) => void

/**
 * The Redis adapter of Socket.IO: `fetchSockets`, `disconnectSockets` and the like then reach all gateways. Messages
 * don't go this way.
 *
 * It gets only the commands it uses, wrapped: it drops the promises of its calls, and one that fails while Redis is
 * away would otherwise end the process as an unhandled rejection.
 */
export function createControlAdapter({
  publisher,
  subscriber,
  logger,
}: {
  publisher: Redis
  subscriber: Redis
  logger: Logger
}): AdapterFactory {
  const caught = <T>(promise: Promise<T>): Promise<T | undefined> =>
    promise.catch((error: unknown) => {
      logger.debug({ err: error }, 'control message not sent')
      return undefined
    })
  return createShardedAdapter(
    {
      spublish: (channel: string, message: string) => caught(publisher.spublish(channel, message)),
      send_command: (name: string, args: string[], done: (error: Error | null, reply?: unknown) => void) => {
        publisher.call(name, ...args).then((reply) => done(null, reply), done)
      },
    },
    {
      on: (event: string, listener: Listener) => subscriber.on(event, listener),
      off: (event: string, listener: Listener) => subscriber.off(event, listener),
      ssubscribe: (channel: string) => caught(subscriber.ssubscribe(channel)),
      sunsubscribe: (channels: string | string[]) => caught(subscriber.sunsubscribe(...[channels].flat())),
    },
    { channelPrefix: 'parley', subscriptionMode: 'static' },
  )
}
