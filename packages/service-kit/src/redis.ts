import { readFileSync } from 'node:fs'
import { Redis, type RedisOptions, ReplyError } from 'ioredis'
import type { Logger } from './logging.ts'

/**
 * - `fast`: a command fails at once while Redis is away and after 2 s where it stalls, so that no request waits on it.
 *   A connection on which nothing comes for 3 s though something was asked is left for a new one: its host may be gone
 *   and its address lead elsewhere by now, which TCP alone would find out after a quarter of an hour. What was sent on
 *   it takes no effect once the new one is ready.
 * - `subscribing`: for code that itself subscribes again on each connection, and pings it every 2 s: a silent
 *   connection is given up after 6 s, and no command that was meant for it is repeated on the next.
 * - `waiting`: as BullMQ's workers want it: commands wait for the connection. A silent one is given up after 13 s: they
 *   ask Redis to wait for up to ten.
 */
type RedisKind = 'fast' | 'subscribing' | 'waiting'

const KINDS = {
  fast: { maxRetriesPerRequest: 1, enableOfflineQueue: false, commandTimeout: 2_000, socketTimeout: 3_000 },
  subscribing: {
    autoResubscribe: false,
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
    socketTimeout: 6_000,
  },
  waiting: { maxRetriesPerRequest: null, socketTimeout: 13_000 },
} satisfies Record<RedisKind, RedisOptions>

/** Milliseconds between attempts to reconnect. */
const RETRY_MS = { step: 50, max: 1_000 }

/** A connection that is made in the background and made again whenever it is lost: never throws, at boot neither. */
export function connectRedis(
  url: string,
  { name, kind, logger }: { name: string; kind: RedisKind; logger?: Logger },
): Redis {
  const options = {
    connectionName: name,
    connectTimeout: 2_000,
    keepAlive: 5_000,
    retryStrategy: (attempt: number) => Math.min(attempt * RETRY_MS.step, RETRY_MS.max),
    // A replica after a failover: connect again (the address may lead to the new primary) and repeat the command.
    reconnectOnError: (error: Error) => (error.message.startsWith('READONLY') ? (2 as const) : false),
    ...KINDS[kind],
  } satisfies RedisOptions
  const redis = new Redis(url, options)
  let away = false
  redis.on('error', (error: Error) => {
    if (!away) logger?.warn({ redis: name, reason: error.message }, 'redis is away')
    away = true
  })
  redis.on('ready', () => {
    if (away) logger?.info({ redis: name }, 'redis is back')
    away = false
  })
  if (kind === 'fast') endEarlier(redis, logger)
  return redis
}

/**
 * Each connection has Redis close those before it. TCP goes on delivering what was sent on one that was given up here,
 * seconds after the network is back, and it would undo what was written since on the next one.
 */
function endEarlier(redis: Redis, logger: Logger | undefined): void {
  /** Connections that may not be closed yet, by the numbers that Redis knows them by. */
  const earlier = new Set<{ id: string; addr: string }>()
  redis.on('ready', () => {
    for (const one of earlier) {
      // Both, since another Redis may have given the id to somebody else.
      redis.call('CLIENT', 'KILL', 'ID', one.id, 'ADDR', one.addr).then(
        () => earlier.delete(one),
        (error: unknown) => {
          if (error instanceof ReplyError) earlier.delete(one)
          logger?.debug({ err: error }, 'an earlier connection was not closed')
        },
      )
    }
    redis.client('INFO').then(
      (info) => {
        const [, id, addr] = /\bid=(\d+) addr=(\S+)/.exec(String(info)) ?? []
        if (id && addr) earlier.add({ id, addr })
      },
      (error: unknown) => logger?.debug({ err: error }, 'a connection is not known by name'),
    )
  })
}

/** Waits until the connection is usable, at most `timeoutMs` milliseconds; says whether it is. */
export function redisReady(redis: Redis, timeoutMs: number): Promise<boolean> {
  if (redis.status === 'ready') return Promise.resolve(true)
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const onReady = () => resolve(true)
  const timer = setTimeout(resolve, timeoutMs, false)
  redis.once('ready', onReady)
  return promise.finally(() => {
    clearTimeout(timer)
    redis.off('ready', onReady)
  })
}

/**
 * Gives the connection a command that runs the Lua script in `file` on so many keys; null: its first argument says how
 * many.
 */
export function defineScript(redis: Redis, command: string, numberOfKeys: number | null, file: URL): void {
  const keys = numberOfKeys === null ? {} : { numberOfKeys }
  redis.defineCommand(command, { ...keys, lua: readFileSync(file, 'utf8') })
}

/** Ends a connection in whatever state it is. */
export async function closeRedis(redis: Redis): Promise<void> {
  if (redis.status === 'ready') {
    await redis.quit().catch(() => redis.disconnect())
  } else {
    redis.disconnect()
  }
}
