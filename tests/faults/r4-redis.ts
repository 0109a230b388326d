import { copyFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { startRedis, throwAwayFolder } from '@parley/devstack'
import { Redis } from 'ioredis'
import { comesTrue } from '../support/until.ts'
import type { Bed } from './bed.ts'
import { type Chat, runChat } from './chat.ts'
import { createGuests, type Guests, wrongAfter } from './r4-guests.ts'
import type { Row } from './row.ts'
import { type Head, summaryFaults } from './summaries.ts'

const dumpOf = (bed: Bed) => join(bed.stack.dataDir, 'redis-0', 'dump.rdb')

async function withRedis<T>(url: string, use: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = new Redis(url, { maxRetriesPerRequest: 3 })
  redis.on('error', () => undefined)
  try {
    return await use(redis)
  } finally {
    redis.disconnect()
  }
}

/** `swap` lets people come and go; it resolves when Redis knows it, which may forget it again. */
const DISASTERS: Record<string, (bed: Bed, swap: () => Promise<void>) => Promise<void>> = {
  async wiped(bed) {
    await withRedis(bed.stack.redisUrl, (redis) => redis.flushall())
  },
  async 'restarted empty'(bed) {
    await bed.stack.kill('redis-0')
    await rm(dumpOf(bed), { force: true })
    await bed.stack.start('redis-0')
  },
  async 'restored from an old file'(bed, swap) {
    await withRedis(bed.stack.redisUrl, (redis) => redis.save())
    await swap()
    await bed.stack.kill('redis-0')
    await bed.stack.start('redis-0')
    await rm(dumpOf(bed), { force: true })
  },
  /** A real replica's data, cut off before the end, takes the master's place. */
  async 'replaced by a replica that lags'(bed, swap) {
    const folder = await throwAwayFolder()
    const replica = await startRedis({ dataDir: folder.path, name: 'replica' })
    try {
      await withRedis(replica.url, async (redis) => {
        await redis.call('REPLICAOF', '127.0.0.1', new URL(bed.stack.redisUrl).port)
        await comesTrue(
          async () => (await redis.info('replication')).includes('master_link_status:up'),
          5_000,
        )
        await redis.call('REPLICAOF', 'NO', 'ONE')
        await swap()
        await redis.save()
      })
      await bed.stack.kill('redis-0')
      await copyFile(join(folder.path, 'replica', 'dump.rdb'), dumpOf(bed))
      await bed.stack.start('redis-0')
      await rm(dumpOf(bed), { force: true })
    } finally {
      await replica.process.destroy()
      await folder.remove()
    }
  },
}

/** After each disaster: everyone complete within 10 s, and within 15 s seen as there who is and nobody else. */
async function recovered(what: string, chat: Chat, guests: readonly Guests[]): Promise<void> {
  const marks = chat.rooms.map(({ id }) => chat.acknowledged(id))
  const complete = () =>
    chat.rooms.every(({ members }, index) =>
      members.every((member) => (member.log.at(-1)?.seq ?? 0) >= (marks[index] ?? 0)),
    )
  if (!(await comesTrue(complete, 10_000))) chat.faults.push(`${what}: not complete after 10 s`)
  const seen = async () => {
    for (const { members } of chat.rooms) {
      const online = await members[0]?.online().catch((): string[] => [])
      if (!members.every((member) => online?.includes(member.name))) return false
    }
    return true
  }
  if (!(await comesTrue(seen, 15_000))) chat.faults.push(`${what}: presence wrong after 15 s`)
  for (const fault of await wrongAfter(15_000, chat, guests)) {
    chat.faults.push(`${what}: after 15 s ${fault}`)
  }
}

export const r4: Row<{ times: number; messages: number }, Bed> = {
  name: 'R4',
  title: 'Redis is wiped, restarted empty, restored from an old file, replaced by a lagging replica',
  short: { times: 4, messages: 400 },
  full: (minutes) => ({ times: Math.max(10, minutes * 2), messages: Math.max(2_000, minutes * 2_000) }),
  async run(bed, { random, size, log }) {
    const names = Object.keys(DISASTERS)
    const chosen = Array.from({ length: Math.ceil(size.times / names.length) }, () => random.shuffle(names))
    let guests: Guests[] = []
    const swap = async (chat: Chat) => {
      await Promise.all(guests.map((guest) => guest.swap()))
      // Known in Redis, so that the disaster has something to forget.
      for (const fault of await wrongAfter(15_000, chat, guests)) chat.faults.push(`before: ${fault}`)
    }
    const { chat, faults, figures } = await runChat(bed, {
      rooms: 3,
      members: ['sdk', 'bare', 'bare'],
      messages: size.messages,
      lanes: 2,
      steps: chosen
        .flat()
        .slice(0, size.times)
        .map((name) => async (chat) => {
          if (guests.length === 0)
            guests = await Promise.all(chat.rooms.map((room) => createGuests(bed, room)))
          log(name)
          await DISASTERS[name]?.(bed, () => swap(chat))
          await recovered(name, chat, guests)
        }),
      settleMs: 10_000,
    })
    for (const guest of guests) guest.close()
    const heads = () =>
      Promise.all(
        chat.rooms.map(({ id, owner }) => bed.http(owner).sure<Head>('GET', `/conversations/${id}`)),
      )
    faults.push(...(await summaryFaults(heads, 30_000)))
    return { faults, figures }
  },
}
