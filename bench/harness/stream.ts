import { createHash, randomBytes } from 'node:crypto'
import { eventsKey, partitionOf } from '@parley/contract'
import { sampleMessage } from '@parley/contract/testing'
import { Redis } from 'ioredis'

export const randomId = (): string => randomBytes(12).toString('hex')

/** A message as the api writes it, about 900 bytes. */
export function messageJson(conversationId: string, seq: number, content: string): string {
  return JSON.stringify(
    sampleMessage({
      id: createHash('md5').update(`${conversationId}${seq}`).digest('hex').slice(0, 24),
      conversationId,
      seq,
      participantId: 'sender-0',
      content,
      cost: 0.000123,
      clientMessageId: randomId(),
      createdAt: new Date().toISOString(),
    }),
  )
}

export const TEXT =
  'It is a truth universally acknowledged, that a single message in possession of good content must want an answer. '

const STAMP = '@stamp@'

/** Writes events to the streams as the api would, without an api: what is measured begins at Redis. */
export function createStreamWriter(redisUrl: string, org: string) {
  const redis = new Redis(redisUrl)
  const seqs = new Map<string, number>()
  const fields = (conversationId: string, content: string) => {
    const seq = (seqs.get(conversationId) ?? 0) + 1
    seqs.set(conversationId, seq)
    const data = messageJson(conversationId, seq, content)
    return ['v', '1', 'type', 'message.created', 'org', org, 'cid', conversationId, 'seq', seq, 'data', data]
  }
  const add = (conversationId: string, entry: readonly (string | number)[]) =>
    redis.xadd(streamOf(conversationId), 'MAXLEN', '~', 20_000, '*', ...entry)
  const streamOf = (conversationId: string) => eventsKey(partitionOf(conversationId))
  return {
    redis,
    async write(conversationId: string, content: string): Promise<void> {
      await add(conversationId, fields(conversationId, content))
    },
    /** The content is asked for when all else of the event is there: what is timed by it begins with the stream. */
    async writeStamped(conversationId: string, content: () => string): Promise<void> {
      const entry = fields(conversationId, STAMP)
      const data = String(entry.pop())
      entry.push(data.replace(STAMP, content()))
      await add(conversationId, entry)
    },
    /** Many at once, one pipeline. */
    async writeAll(conversationIds: readonly string[], content: string): Promise<void> {
      const pipeline = redis.pipeline()
      for (const id of conversationIds) {
        pipeline.xadd(streamOf(id), 'MAXLEN', '~', 20_000, '*', ...fields(id, content))
      }
      await pipeline.exec()
    },
    close: () => redis.disconnect(),
  }
}

/** Calls `tick` so many times a second for `ms`, catching up when late. Resolves when all calls are done. */
export async function paced(perSecond: number, ms: number, tick: () => Promise<void>): Promise<number> {
  const start = performance.now()
  const under: Promise<void>[] = []
  let done = 0
  for (;;) {
    const elapsed = performance.now() - start
    const due = Math.min(Math.floor((elapsed * perSecond) / 1_000), Math.floor((ms * perSecond) / 1_000))
    for (; done < due; done++) under.push(tick())
    if (elapsed >= ms) break
    await new Promise((resolve) => setTimeout(resolve, Math.max(1, 500 / perSecond)))
  }
  await Promise.all(under)
  return done
}
