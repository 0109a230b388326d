import { END_STREAM_TEXT, joinStreamText, roomStreamsKey, streamTextKey } from '@parley/contract'
import { createPeriodic, type Logger } from '@parley/service-kit'
import type { Redis } from 'ioredis'
import type { Collections } from '../database/collections.ts'
import { isVoid } from '../database/collections.ts'
import type { StreamService } from './service.ts'

/** Milliseconds. A stream without a sign of life ends after at most `silentMs` + `everyMs`, below 30 s. */
const SWEEP_TIMES = {
  silentMs: 20_000,
  everyMs: 4_000,
  /** Once MongoDB answers again, gateways whose checkpoints could not be stored get this long first. */
  firstMs: 10_000,
}
/** Rows read at once. */
const BATCH_SIZE = 100

export interface StreamSweeperOptions extends Pick<Collections, 'messages'> {
  redis: Redis
  streams: StreamService
  logger: Pick<Logger, 'debug' | 'warn'>
  times?: Partial<typeof SWEEP_TIMES>
}

/** Ends streams whose agent and gateway are both gone: `failed`, with the text so far. */
export function createStreamSweeper({ messages, redis, streams, logger, times }: StreamSweeperOptions) {
  const { silentMs, everyMs, firstMs } = { ...SWEEP_TIMES, ...times }
  /** Whether MongoDB answered last time. */
  let answers = false
  let closed = false

  /** The longer of the stored text and what clients saw, which may be two seconds ahead of the last checkpoint. */
  async function textOf(id: string, stored: string): Promise<string> {
    try {
      const text = joinStreamText(await redis.hgetall(streamTextKey(id)))
      return text.length > stored.length ? text : stored
    } catch (error) {
      logger.debug({ err: error, messageId: id }, 'a stream ends with the text of its last checkpoint')
      return stored
    }
  }

  /** An owner that only the api lost sight of would write the text again, and its agent would go on. */
  async function close(cid: string, id: string): Promise<void> {
    try {
      await Promise.all([
        redis.eval(END_STREAM_TEXT, 1, streamTextKey(id)),
        redis.hdel(roomStreamsKey(cid), id),
      ])
    } catch (error) {
      logger.debug({ err: error, messageId: id }, 'the text of an ended stream will expire by itself')
    }
  }

  async function sweep(): Promise<void> {
    const before = new Date(Date.now() - silentMs)
    for await (const row of messages.find({ streamedAt: { $lt: before } }, { batchSize: BATCH_SIZE })) {
      if (closed) return
      if (isVoid(row)) continue
      const [cid, messageId] = [row.cid.toHexString(), row._id.toHexString()]
      const content = await textOf(messageId, row.content)
      if (await streams.fail(cid, messageId, content, before)) await close(cid, messageId)
    }
  }

  /** Milliseconds until the next round. */
  async function round(): Promise<number> {
    try {
      if (answers) await sweep()
      else await messages.findOne({ streamedAt: { $exists: true } }, { projection: { _id: 1 } })
      const pause = answers ? everyMs : firstMs
      answers = true
      return pause
    } catch (error) {
      answers = false
      logger.warn({ err: error }, 'the stream sweep failed')
      return everyMs
    }
  }

  const rounds = createPeriodic(round)
  return {
    ...rounds,
    sweep,
    close(): Promise<void> {
      closed = true
      return rounds.close()
    },
  }
}
