import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import type { Socket } from 'socket.io-client'
import { joinRoom, openSocket } from '../support/socket.ts'
import { each } from '../support/until.ts'
import type { Bed } from './bed.ts'
import type { BystanderReport, BystanderWork } from './d1-bystanders.ts'
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

    // In a thread of their own: what is measured is the gateway's patience, not this thread's.
    const [a, b] = [`${prefix}-a`, `${prefix}-b`]
    const conversationId = await bed.conversation([a, b])
    const work: BystanderWork = {
      conversationId,
      apiUrls: [...bed.apiUrls],
      gatewayUrls: [...bed.gatewayUrls],
      sender: { name: a, token: bed.token(a) },
      reader: { name: b, token: bed.token(b) },
    }
    const bystanders = new Worker(new URL('./d1-bystanders.ts', import.meta.url), {
      workerData: work,
      execArgv: ['--conditions=@parley/source'],
    })
    await once(bystanders, 'message')
    const times: number[] = []
    const figures: Record<string, number> = { sockets: idle.length }
    for (let round = 0; round < size.times; round++) {
      log(`storm ${round + 1}/${size.times}`)
      for (const socket of sockets) socket.disconnect()
      sockets = []
      const begun = performance.now()
      bystanders.postMessage('talk')
      await Promise.all(idle.map(async (who) => void sockets.push(await arrive(who))))
      const took = performance.now() - begun
      bystanders.postMessage('stop')
      const [heard] = (await once(bystanders, 'message')) as [BystanderReport]
      times.push(...heard.times)
      faults.push(...heard.faults)
      figures.backMs = Math.max(figures.backMs ?? 0, Math.round(took))
      if (took > 60_000) faults.push(`all back only after ${Math.round(took)} ms`)
    }
    figures.othersP99 = percentile(times, 0.99)
    if (figures.othersP99 > 1_000) faults.push(`others' p99 ${figures.othersP99} ms`)
    for (const socket of sockets) socket.disconnect()
    await bystanders.terminate()
    return { faults, figures }
  },
}
