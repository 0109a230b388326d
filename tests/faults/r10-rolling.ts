import type { Bed } from './bed.ts'
import { runChat } from './chat.ts'
import type { Row } from './row.ts'

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
    const { faults, figures } = await runChat(bed, {
      rooms: 2,
      members: ['sdk', 'sdk', 'sdk'],
      messages: size.messages,
      lanes: 2,
      steps: restarts.map((name) => async () => {
        log(`restart ${name}`)
        await bed.stack.restart(name)
      }),
      settleMs: 10_000,
    })
    if (Number(figures.sendP99) > 2_000) faults.push(`p99 of sends ${figures.sendP99} ms`)
    return { faults, figures }
  },
}
