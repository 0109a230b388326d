import { END_STREAM_TEXT, joinStreamText, roomStreamsKey, streamTextKey } from '@parley/contract'
import { defineScript, type Logger } from '@parley/service-kit'
import type { Redis, Result } from 'ioredis'

/** Milliseconds that a text outlives its owner's last sign of life. */
const TEXT_MS = 10 * 60_000
/** Milliseconds for which a stream is held at most: whoever was to end it may have died. */
const HOLD_MS = 5_000
/** Seconds for which a conversation's list of streams is kept. */
const LIST_SECONDS = 24 * 60 * 60

declare module 'ioredis' {
  interface RedisCommander<Context> {
    streamClaim(key: string, token: string, ms: number): Result<string[], Context>
    streamAppend(
      key: string,
      token: string,
      offset: number,
      text: string,
      channel: string,
      message: string,
    ): Result<number, Context>
    streamRestore(key: string, token: string, ms: number, text: string): Result<number, Context>
    streamTouch(key: string, token: string, ms: number): Result<number, Context>
    streamHold(key: string, ms: number): Result<string[], Context>
  }
}

/**
 * Whether a token still owns a stream; `ended`: nobody does any more; `held`: it does, but may add nothing for a
 * moment; `lost`: Redis no longer has the stream.
 */
export type Ownership = 'owned' | 'taken' | 'ended' | 'held' | 'lost'
const OWNERSHIP: Record<number, Ownership> = { 1: 'owned', 0: 'taken', 2: 'ended', 3: 'held', [-1]: 'lost' }
const ownership = (answer: number): Ownership => OWNERSHIP[answer] ?? 'taken'

export type StreamStore = ReturnType<typeof createStreamStore>

/**
 * Texts of streamed answers in Redis, each with an owner: a token that only the latest to take it over has, so that a
 * gateway presumed dead can no longer write. All but `close` reject while Redis is away.
 */
export function createStreamStore({ redis, logger }: { redis: Redis; logger: Logger }) {
  const scripts = [
    ['streamClaim', 'stream-claim'],
    ['streamAppend', 'stream-append'],
    ['streamRestore', 'stream-restore'],
    ['streamTouch', 'stream-touch'],
    ['streamHold', 'stream-hold'],
  ] as const
  for (const [command, file] of scripts) {
    defineScript(redis, command, 1, new URL(`../../lua/${file}.lua`, import.meta.url))
  }

  return {
    /** Makes `token` the owner; resolves to the text so far. */
    async claim(conversationId: string, messageId: string, seq: number, token: string): Promise<string> {
      const list = roomStreamsKey(conversationId)
      const [fields] = await Promise.all([
        redis.streamClaim(streamTextKey(messageId), token, TEXT_MS),
        redis.hset(list, messageId, seq),
        redis.expire(list, LIST_SECONDS),
      ])
      return joinStreamText(recordOf(fields))
    },

    /** Stores a piece and publishes `message` on `channel`, in one step. */
    async append(
      messageId: string,
      token: string,
      piece: { index: number; text: string },
      channel: string,
      message: string,
    ): Promise<Ownership> {
      const { index, text } = piece
      return ownership(
        await redis.streamAppend(streamTextKey(messageId), token, index, text, channel, message),
      )
    },

    /** Writes the whole text over whatever is there; never `lost`. */
    async restore(
      conversationId: string,
      messageId: string,
      seq: number,
      token: string,
      text: string,
    ): Promise<Ownership> {
      const [answer] = await Promise.all([
        redis.streamRestore(streamTextKey(messageId), token, TEXT_MS, text),
        redis.hset(roomStreamsKey(conversationId), messageId, seq),
        redis.expire(roomStreamsKey(conversationId), LIST_SECONDS),
      ])
      return ownership(answer)
    },

    /** Whether the token still owns the stream; extends the time its text is kept. */
    async touch(messageId: string, token: string): Promise<Ownership> {
      return ownership(await redis.streamTouch(streamTextKey(messageId), token, TEXT_MS))
    },

    /**
     * Its owner adds nothing to it until `release` or `close`, or for 5 s: what is returned is all that anybody has
     * been shown. null where Redis has no text, or the stream has ended.
     */
    async hold(messageId: string): Promise<string | null> {
      const fields = await redis.streamHold(streamTextKey(messageId), HOLD_MS)
      return fields.length === 0 ? null : joinStreamText(recordOf(fields))
    },

    /** It goes on after all. Best effort. */
    async release(messageId: string): Promise<void> {
      await redis.hdel(streamTextKey(messageId), 'held').catch((error: unknown) => {
        logger.debug({ err: error, messageId }, 'a stream goes on once it is held no longer')
      })
    },

    /** It has ended: a gateway that still believes it owns it can no longer write. Best effort. */
    async close(conversationId: string, messageId: string): Promise<void> {
      try {
        await Promise.all([
          redis.eval(END_STREAM_TEXT, 1, streamTextKey(messageId)),
          redis.hdel(roomStreamsKey(conversationId), messageId),
        ])
      } catch (error) {
        logger.debug({ err: error, messageId }, 'the text of an ended stream will expire by itself')
      }
    },

    /** The text so far; null where Redis has none, or the stream has ended. */
    async read(messageId: string): Promise<string | null> {
      const fields = await redis.hgetall(streamTextKey(messageId))
      return fields.owner === undefined || fields.owner === '' ? null : joinStreamText(fields)
    },

    /** A conversation's streams that may be under way. */
    async list(conversationId: string): Promise<{ messageId: string; seq: number }[]> {
      const found = await redis.hgetall(roomStreamsKey(conversationId))
      return Object.entries(found).map(([messageId, seq]) => ({ messageId, seq: Number(seq) }))
    },
  }
}

/** Redis tells fields and values in turn. */
function recordOf(fields: readonly string[]): Record<string, string> {
  const record: Record<string, string> = {}
  for (let i = 0; i < fields.length; i += 2) record[fields[i] ?? ''] = fields[i + 1] ?? ''
  return record
}
