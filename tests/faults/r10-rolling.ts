import type { Bed } from './bed.ts'
import { runChat } from './chat.ts'
import type { Row } from './row.ts'

/** Of each sender after a message: they send all through a restart, however long it takes. */
const REST_MS = 20
/** More than the 25 s that services may take. */
const GRACE_MS = 30_000
/** A service with so few to say goodbye to takes this long only where a phase of its end waits for nothing. */
const STOP_MS = 5_000

export const r10: Row<{ rounds: number; messages: number; each?: boolean }, Bed> = {
  name: 'R10',
  title: 'all services restart one after the other while people talk',
  /** One of each kind: a graceful restart takes its time, and the others are of the same make. */
  short: { rounds: 1, messages: 300 },
  full: (minutes) => ({ rounds: 2, each: true, messages: Math.max(1_000, minutes * 3_000) }),
  async run(bed, { size, log }) {
    const services = bed.stack
      .processes()
      .filter((name) => (size.each ? /^(api|gateway|worker)-/ : /^(api|gateway|worker)-0$/).test(name))
    const restarts = Array.from({ length: size.rounds }, () => services).flat()
    let slowest = 0
    const { faults, figures } = await runChat(bed, {
      rooms: 2,
      members: ['sdk', 'sdk', 'sdk'],
      messages: size.messages,
      throughout: REST_MS,
      lanes: 2,
      steps: restarts.map((name) => async (chat) => {
        log(`restart ${name}`)
        const begun = performance.now()
        const exit = await bed.stack.stop(name, GRACE_MS)
        const tookMs = Math.round(performance.now() - begun)
        slowest = Math.max(slowest, tookMs)
        if (exit?.code !== 0) chat.faults.push(`${name} ended with ${JSON.stringify(exit)}`)
        if (tookMs > STOP_MS) chat.faults.push(`${name} took ${tookMs} ms to end`)
        await bed.stack.start(name)
      }),
      settleMs: 10_000,
    })
    if (Number(figures.sendP99) > 2_000) faults.push(`p99 of sends ${figures.sendP99} ms`)
    return { faults, figures: { ...figures, slowestStopMs: slowest } }
  },
}
