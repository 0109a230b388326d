import { problem, streamTextKey } from '@parley/contract'
import { type ApiClient, createLogger } from '@parley/service-kit'
import { Redis } from 'ioredis'
import { afterAll, expect, inject, it, vi } from 'vitest'
import { createOutbound } from '../connection/outbound.ts'
import { createFakeApi, newId } from '../testing/fake-api.ts'
import { createFakeSocket } from '../testing/fake-socket.ts'
import { createBeat } from './beat.ts'
import { createStreamOwner, STREAM_TIMES, type StreamIdentity } from './owner.ts'
import { createStreamStore } from './store.ts'

const logger = createLogger({ name: 'test', level: 'silent' })
const redis = new Redis(inject('redisUrl'))
afterAll(() => redis.quit())

const newIdentity = (): StreamIdentity => ({
  conversationId: newId(),
  messageId: newId(),
  seq: 1,
  orgId: 'acme',
  author: 'agent:bot',
  name: 'a',
})

it('continues if its agent came back just as the time for that was over', async () => {
  const [before, after] = [createFakeSocket().socket, createFakeSocket().socket]
  const identity = newIdentity()
  const { api, calls } = createFakeApi()
  const store = createStreamStore({ redis, logger })
  const claim = (token: string) => store.claim(identity.conversationId, identity.messageId, 1, token)
  const bothAsked = Promise.withResolvers<void>()
  const answered = Promise.withResolvers<void>()
  let asked = 0
  await claim('first')
  const owner = createStreamOwner(
    identity,
    { text: 'Hel', token: 'first', claimed: true, socket: before, stored: true },
    {
      api,
      store: {
        ...store,
        async touch(messageId, token) {
          if (++asked === 2) bothAsked.resolve()
          await answered.promise
          return store.touch(messageId, token)
        },
      },
      beat: createBeat(STREAM_TIMES.beatMs),
      outbound: createOutbound(),
      logger,
      times: { ...STREAM_TIMES, orphanMs: 0 },
      deliver: () => undefined,
      onTaken: () => undefined,
      onOver: () => undefined,
    },
  )
  const touched = vi.spyOn(redis, 'streamTouch')
  owner.onAgentGone(before)
  await bothAsked.promise
  await claim('second')
  owner.resume({ socket: after, token: 'second', claimed: true, stored: 'Hel' })
  answered.resolve()
  // The last checkpoint and the end both ask: as the first token's it is refused, as the second's it is owned; what
  // follows comes in the same turn.
  await vi.waitFor(() => expect(touched.mock.settledResults.map(({ value }) => value)).toEqual([0, 0, 1, 1]))
  await new Promise(setImmediate)
  expect(calls).toEqual(['/internal/streams/checkpoint'])
  owner.drop()
})

it('gives one more sign of life as its agent is cut off, and none while the agent is away', async () => {
  const { socket } = createFakeSocket()
  const identity = newIdentity()
  const { api, calls } = createFakeApi()
  const store = createStreamStore({ redis, logger })
  await store.claim(identity.conversationId, identity.messageId, 1, 'first')
  vi.useFakeTimers({ toFake: ['setInterval'] })
  const owner = createStreamOwner(
    identity,
    { text: 'Hel', token: 'first', claimed: true, socket, stored: true },
    {
      api,
      store,
      beat: createBeat(STREAM_TIMES.beatMs),
      outbound: createOutbound(),
      logger,
      times: STREAM_TIMES,
      deliver: () => undefined,
      onTaken: () => undefined,
      onOver: () => undefined,
    },
  )
  owner.onAgentGone(socket)
  await vi.waitFor(() => expect(calls).toEqual(['/internal/streams/checkpoint']))
  vi.advanceTimersByTime(STREAM_TIMES.checkpointMs)
  vi.useRealTimers()
  await owner.leave()
  expect(calls).toEqual(['/internal/streams/checkpoint'])
})

/** An answer that has `Hel` so far. */
async function openAnswer(api: Pick<ApiClient, 'internal'>) {
  const { socket } = createFakeSocket()
  const identity = newIdentity()
  const store = createStreamStore({ redis, logger })
  await store.claim(identity.conversationId, identity.messageId, 1, 'first')
  const onOver = vi.fn()
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] })
  const owner = createStreamOwner(
    identity,
    { text: 'Hel', token: 'first', claimed: true, socket, stored: true },
    {
      api: { ...createFakeApi().api, ...api },
      store,
      beat: createBeat(STREAM_TIMES.beatMs),
      outbound: createOutbound(),
      logger,
      times: { ...STREAM_TIMES, checkpointMs: 60_000 },
      deliver: () => undefined,
      onTaken: () => undefined,
      onOver,
    },
  )
  return { owner, socket, onOver, store }
}

it('continues beyond the time for its agent to come back, since it has', async () => {
  const { api, calls } = createFakeApi()
  const { owner, socket } = await openAnswer(api)
  owner.onAgentGone(socket)
  owner.resume({ socket: createFakeSocket().socket, token: 'first', claimed: true, stored: 'Hel' })
  vi.advanceTimersByTime(STREAM_TIMES.orphanMs)
  vi.useRealTimers()
  // Asked after whatever its end would have asked.
  expect(await owner.read()).toBe('Hel')
  await new Promise(setImmediate)
  expect(calls).toEqual(['/internal/streams/checkpoint'])
  owner.drop()
})

it('can be ended again if its end was not stored', async () => {
  const finish = vi.fn().mockRejectedValueOnce(problem('unavailable')).mockResolvedValueOnce({ won: true })
  const { owner } = await openAnswer({ internal: finish })
  vi.useRealTimers()
  await expect(owner.finish('sent', {}, null)).rejects.toMatchObject({ code: 'unavailable' })
  expect(await owner.finish('sent', {}, null)).toEqual({ won: true })
})

it('is let go, not ended, where Redis still names it but the api has heard of it through another gateway', async () => {
  const asked: unknown[] = []
  const internal: ApiClient['internal'] = async (path, body) => {
    if (path !== '/internal/streams/finish') return { live: true } as never
    asked.push(body)
    return { won: false, message: { status: 'streaming' } } as never
  }
  const { owner, socket, onOver } = await openAnswer({ internal })
  owner.onAgentGone(socket)
  vi.advanceTimersByTime(STREAM_TIMES.orphanMs)
  vi.useRealTimers()
  await vi.waitFor(() => expect(onOver).toHaveBeenCalled())
  expect(asked).toMatchObject([{ status: 'failed', caller: null, silentMs: STREAM_TIMES.orphanMs / 2 }])
  expect(await redis.hget(streamTextKey(owner.messageId), 'owner')).toBe('first')
  expect(await owner.read()).toBeNull()
})

it('is ended whatever sign of life it gave where its agent may not write any more', async () => {
  const internal = vi.fn().mockResolvedValue({ won: true })
  const { owner } = await openAnswer({ internal })
  vi.useRealTimers()
  await owner.failForLostAccess()
  expect(internal.mock.calls).toMatchObject([['/internal/streams/finish', { status: 'failed' }, {}]])
  expect(internal.mock.calls[0]?.[1]).not.toHaveProperty('silentMs')
})

it('stores all it was given before it is left, also what came while it was being stored', async () => {
  const { socket } = createFakeSocket()
  const identity = newIdentity()
  const store = createStreamStore({ redis, logger })
  await store.claim(identity.conversationId, identity.messageId, 1, 'mine')
  const contents: string[] = []
  const stored = Promise.withResolvers<void>()
  const api = {
    ...createFakeApi().api,
    async internal(_path: string, body: unknown) {
      contents.push((body as { content: string }).content)
      await stored.promise
      return { live: true }
    },
  } as ApiClient
  const owner = createStreamOwner(
    identity,
    { text: 'Hel', token: 'mine', claimed: true, socket, stored: true },
    {
      api,
      store,
      beat: createBeat(STREAM_TIMES.beatMs),
      outbound: createOutbound(),
      logger,
      times: { ...STREAM_TIMES, checkpointMs: 20 },
      deliver: () => undefined,
      onTaken: () => undefined,
      onOver: () => undefined,
    },
  )
  await vi.waitFor(() => expect(contents).toEqual(['Hel']))
  owner.append(3, 'lo')
  owner.onAgentGone(socket)
  const left = owner.leave()
  stored.resolve()
  await left
  expect(contents).toEqual(['Hel', 'Hello'])
})

it('lacks nothing in Redis if it goes on after an end that came while it was held, and was not stored', async () => {
  const internal = vi.fn().mockRejectedValueOnce(problem('unavailable'))
  const { owner, store } = await openAnswer({ internal })
  vi.useRealTimers()
  await store.append(owner.messageId, 'first', { index: 0, text: 'Hel' }, 'nowhere', '')
  // A cancel begins, and comes to nothing as well: the api is away.
  await store.hold(owner.messageId)
  owner.append(3, 'lo')
  await expect(owner.finish('sent', {}, null)).rejects.toMatchObject({ code: 'unavailable' })
  await store.release(owner.messageId)
  owner.append(5, ', world')
  await vi.waitFor(async () => expect(await store.read(owner.messageId)).toBe('Hello, world'))
  owner.drop()
})

it('is told without another piece where its text was held as Redis came back, and that came to nothing', async () => {
  const { owner, store } = await openAnswer({ internal: vi.fn() })
  vi.useRealTimers()
  await store.append(owner.messageId, 'first', { index: 0, text: 'Hel' }, 'nowhere', '')
  await store.hold(owner.messageId)
  owner.onReconnected()
  owner.append(3, 'lo')
  const restore = vi.spyOn(redis, 'streamRestore')
  await vi.waitFor(() => expect(restore).toHaveBeenCalled())
  restore.mockRestore()
  await store.release(owner.messageId)
  await vi.waitFor(async () => expect(await store.read(owner.messageId)).toBe('Hello'))
  owner.drop()
})
