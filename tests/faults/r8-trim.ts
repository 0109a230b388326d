import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { Bed } from './bed.ts'
import { runChat } from './chat.ts'
import type { Row } from './row.ts'

export const r8: Row<{ times: number; messages: number; pauseMs: [number, number] }, Bed> = {
  name: 'R8',
  title: 'the streams are trimmed under a paused gateway',
  short: { times: 2, messages: 300, pauseMs: [600, 1_500] },
  full: (minutes) => ({
    times: Math.max(10, minutes * 4),
    messages: Math.max(1_000, minutes * 2_000),
    pauseMs: [500, 20_000],
  }),
  async run(bed, { random, size, log }) {
    const redis = new Redis(bed.stack.redisUrl, { maxRetriesPerRequest: null })
    redis.on('error', () => undefined)
    const gateways = bed.stack.processes().filter((name) => name.startsWith('gateway-'))
    try {
      const { faults, figures } = await runChat(bed, {
        rooms: 6,
        members: ['bare', 'sdk', 'bare'],
        messages: size.messages,
        lanes: 1,
        steps: Array.from({ length: size.times }, () => async () => {
          const name = random.pick(gateways)
          const pause = random.int(...size.pauseMs)
          log(`pause ${name} for ${pause} ms and trim`)
          bed.stack.pause(name)
          try {
            await delay(pause)
            for (const key of await redis.keys('events:*')) {
              if ((await redis.type(key)) === 'stream') await redis.xtrim(key, 'MAXLEN', 0)
            }
          } finally {
            bed.stack.resume(name)
          }
        }),
        settleMs: 15_000,
      })
      return { faults, figures }
    } finally {
      redis.disconnect()
    }
  },
}
