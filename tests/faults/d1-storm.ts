import { setTimeout as delay } from 'node:timers/promises'
import type { Socket } from 'socket.io-client'
import { joinRoom, openSocket } from '../support/socket.ts'
import { each } from '../support/until.ts'
import type { Bed } from './bed.ts'
import { percentile, type Row } from './row.ts'

const ROOM_SIZE = 10

export const d1: Row<{ sockets: number; times: number }, Bed> = {
  name: 'D1',
  title: 'all idle sockets reconnect at once',
  short: { sockets: 200, times: 1 },
  full: (minutes) => ({ sockets: Math.min(10_000, minutes * 2_000), times: 2 }),
  async run(bed, { random, size, log }) {
    const faults: string[] = []
    const prefix = `storm${random.int(0, 1e9)}`
    const people = await Promise.all(
      Array.from({ length: Math.ceil(size.sockets / ROOM_SIZE) }, async (_, index) => {
        const names = Array.from({ length: ROOM_SIZE }, (_, who) => `${prefix}-${index}-${who}`)
        return { names, id: await bed.conversation(names) }
      }),
    )
    const idle = people.flatMap(({ names, id }) => names.map((name) => ({ token: bed.token(name), id })))

    async function arrive({ token, id }: (typeof idle)[number]): Promise<Socket> {
      for (;;) {
        try {
          const socket = await openSocket(random.pick(bed.gatewayUrls), token)
          await joinRoom(socket, id)
          return socket
        } catch (error) {
          // Told when to come again, a client does so; with nothing told it waits a second or so.
          const told =
            error instanceof Error && 'data' in error ? (error.data as { reconnectAfterMs?: number }) : {}
          await delay(told?.reconnectAfterMs ?? random.int(500, 1_500))
        }
      }
    }

    let sockets: Socket[] = []
    log(`${idle.length} connect`)
    await each(idle, 50, async (who) => void sockets.push(await arrive(who)))

    const bystanders = await bed.conversation([`${prefix}-a`, `${prefix}-b`])
    const [a, b] = [`${prefix}-a`, `${prefix}-b`].map((name, n) => bed.member('bare', name, bystanders, n))
    if (!a || !b) throw new Error('two bystanders are needed')
    await Promise.all([a.join(), b.join()])
    const times: number[] = []
    const figures: Record<string, number> = { sockets: idle.length }
    for (let round = 0; round < size.times; round++) {
      log(`storm ${round + 1}/${size.times}`)
      for (const socket of sockets) socket.disconnect()
      sockets = []
      const begun = performance.now()
      let storming = true
      const talk = (async () => {
        for (let n = 0; storming; n++) {
          const { tookMs } = await a.send(`During the storm ${n}`, `${prefix}-${round}-${n}`)
          times.push(tookMs)
          await delay(20)
        }
      })()
      await Promise.all(idle.map(async (who) => void sockets.push(await arrive(who))))
      const took = performance.now() - begun
      storming = false
      await talk
      figures.backMs = Math.max(figures.backMs ?? 0, Math.round(took))
      if (took > 60_000) faults.push(`all back only after ${Math.round(took)} ms`)
    }
    figures.othersP99 = percentile(times, 0.99)
    if (figures.othersP99 > 1_000) faults.push(`others' p99 ${figures.othersP99} ms`)
    for (const socket of sockets) socket.disconnect()
    faults.push(...a.faults, ...b.faults)
    a.close()
    b.close()
    return { faults, figures }
  },
}
