import type { Logger } from '@parley/service-kit'
import { createAdapter, createShardedAdapter } from '@socket.io/redis-adapter'
import type { Redis } from 'ioredis'
import type { ServerOptions } from 'socket.io'

type AdapterFactory = NonNullable<ServerOptions['adapter']>

const FIRST_WITH_SHARDED = 7

/**
 * The Redis adapter of Socket.IO: `fetchSockets`, `disconnectSockets` and the like then reach all gateways. Messages
 * don't go this way. Sharded where the server can (or where none answers: it may be back at any time).
 *
 * It gets the commands that it uses and no more: its own calls drop the promises, and one that fails while Redis is
 * away would otherwise end the process as an error that nobody caught.
 */
export async function createControlAdapter(options: {
  publisher: Redis
  subscriber: Redis
  logger: Logger
}): Promise<AdapterFactory> {
  const { publisher, subscriber, logger } = options
  const failed = (error: unknown) => logger.debug({ err: error }, 'control message not sent')
  const caught = <T>(promise: Promise<T>): Promise<T | undefined> =>
    promise.catch((error: unknown) => {
      failed(error)
      return undefined
    })
  if (await knowsSharded(publisher)) {
    return createShardedAdapter(
      { spublish: (channel: string, message: string) => caught(publisher.spublish(channel, message)) },
      {
        ...listeners(subscriber),
        ssubscribe: (channel: string) => caught(subscriber.ssubscribe(channel)),
        sunsubscribe: (channels: string | string[]) => caught(subscriber.sunsubscribe(...[channels].flat())),
      },
      { channelPrefix: 'parley', subscriptionMode: 'static' },
    )
  }
  return createAdapter(
    {
      publish: (channel: string, message: string) => caught(publisher.publish(channel, message)),
      ...listeners(publisher),
    },
    {
      ...listeners(subscriber),
      psubscribe: (pattern: string) => caught(subscriber.psubscribe(pattern)),
      punsubscribe: (pattern: string) => caught(subscriber.punsubscribe(pattern)),
      subscribe: (channels: string[]) => caught(subscriber.subscribe(...channels)),
      unsubscribe: (channels: string[]) => caught(subscriber.unsubscribe(...channels)),
    },
    { key: 'parley' },
  )
}

type Listener = (...args: unknown[]) => void
const listeners = (redis: Redis) => ({
  on: (event: string, listener: Listener) => redis.on(event, listener),
  off: (event: string, listener: Listener) => redis.off(event, listener),
})

async function knowsSharded(redis: Redis): Promise<boolean> {
  try {
    const info = await redis.info('server')
    const version = Number(/redis_version:(\d+)/.exec(info)?.[1] ?? FIRST_WITH_SHARDED)
    return version >= FIRST_WITH_SHARDED
  } catch (error) {
    if (error instanceof Error) return true
    throw error
  }
}
