import { setTimeout as delay } from 'node:timers/promises'
import type { Socket } from 'socket.io-client'
import { joinRoom, openSocket } from '../support/socket.ts'
import { each } from '../support/until.ts'
import type { Bed } from './bed.ts'
import { startBystanders } from './bystanders.ts'
import { percentile, type Row } from './row.ts'

const ROOM_SIZE = 10

/** Why somebody was not let in: by what the gateway says, else by the error itself. */
function refusalOf(error: unknown): { code: string; reconnectAfterMs?: number } {
  if (!(error instanceof Error)) throw error
  const data =
    'data' in error ? (error.data as { code: string; reconnectAfterMs?: number } | undefined) : undefined
  const below = 'description' in error ? (error.description as { message?: string } | undefined) : undefined
  return data ?? { code: below?.message ?? error.message }
}

export const d1: Row<{ sockets: number; times: number }, Bed> = {
  name: 'D1',
  title: 'all idle sockets reconnect at once',
  short: { sockets: 200, times: 1 },
  full: (minutes) => ({ sockets: Math.min(10_000, Math.ceil(minutes * 2_000)), times: 2 }),
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

    let refusals: Record<string, number> = {}
    async function arrive({ token, id }: (typeof idle)[number]): Promise<Socket> {
      for (;;) {
        try {
          const socket = await openSocket(random.pick(bed.gatewayUrls), token)
          await joinRoom(socket, id)
          return socket
        } catch (error) {
          const { code, reconnectAfterMs } = refusalOf(error)
          refusals[`refused as ${code}`] = (refusals[`refused as ${code}`] ?? 0) + 1
          // Told when to come again, a client does so; with nothing told it waits a second or so.
          await delay(reconnectAfterMs ?? random.int(500, 1_500))
        }
      }
    }

    let sockets: Socket[] = []
    log(`${idle.length} connect`)
    await each(idle, 50, async (who) => void sockets.push(await arrive(who)))

    const talkers = [`${prefix}-a`, `${prefix}-b`] as const
    const bystanders = await startBystanders(bed, await bed.conversation(talkers), talkers)
    const acks: number[] = []
    const arrivals: number[] = []
    const figures: Record<string, number> = { sockets: idle.length }
    refusals = {}
    for (let round = 0; round < size.times; round++) {
      log(`storm ${round + 1}/${size.times}`)
      for (const socket of sockets) socket.disconnect()
      sockets = []
      const begun = performance.now()
      bystanders.talk()
      await Promise.all(idle.map(async (who) => void sockets.push(await arrive(who))))
      const took = performance.now() - begun
      const heard = await bystanders.stop()
      acks.push(...heard.acks)
      arrivals.push(...heard.arrivals)
      figures.backMs = Math.max(figures.backMs ?? 0, Math.round(took))
      if (took > 60_000) faults.push(`all back only after ${Math.round(took)} ms`)
    }
    figures.lines = acks.length
    figures.othersP99 = percentile(acks, 0.99)
    figures.arrivalP99 = percentile(arrivals, 0.99)
    if (acks.length === 0) faults.push('nobody talked')
    if (figures.othersP99 > 1_000) faults.push(`others' p99 ${figures.othersP99} ms`)
    if (figures.arrivalP99 > 1_000) faults.push(`others heard after ${figures.arrivalP99} ms (p99)`)
    faults.push(...(await bystanders.faults()))
    for (const socket of sockets) socket.disconnect()
    await bystanders.close()
    return {
      faults,
      figures: {
        ...figures,
        refusals: Object.values(refusals).reduce((sum, count) => sum + count, 0),
        ...refusals,
      },
    }
  },
}
