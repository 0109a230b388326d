import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { counterAt } from '../support/process.ts'
import { comesTrue } from '../support/until.ts'
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
    const trimmed = (gateway: number) =>
      counterAt(bed.gatewayUrls[gateway] ?? '', 'gateway_stream_losses_total', 'reason="trimmed"')
    let losses = 0
    try {
      const { faults, figures } = await runChat(bed, {
        rooms: 6,
        members: ['bare', 'sdk', 'bare'],
        messages: size.messages,
        lanes: 1,
        steps: Array.from({ length: size.times }, () => async (chat) => {
          const gateway = random.int(0, bed.gatewayUrls.length - 1)
          const name = `gateway-${gateway}`
          const before = await trimmed(gateway)
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
          // Without it the row would hold for no reason.
          let after = before
          const noticed = await comesTrue(async () => {
            after = await trimmed(gateway)
            return after > before
          }, 10_000)
          losses += after - before
          if (!noticed) chat.faults.push(`${name} lost nothing, or did not notice`)
        }),
        settleMs: 15_000,
      })
      return { faults, figures: { ...figures, losses } }
    } finally {
      redis.disconnect()
    }
  },
}
