import { setTimeout as delay } from 'node:timers/promises'
import { until } from '../support/until.ts'
import type { Bed } from './bed.ts'
import { type CrowdSize, createCrowd, type Difference } from './p1-crowd.ts'
import type { Row } from './row.ts'

/** Milliseconds from the end of a gateway after which nobody is seen who is gone. */
const GHOST_MS = 15_000
/** Milliseconds for everybody to be connected again once the gateway is. */
const RETURN_MS = 30_000
/**
 * Milliseconds from then on until everybody is seen, and nobody else: a debounce of two seconds or, where a gateway
 * lost its connection while it stood still, six until it tells its rooms what it missed.
 */
const SEEN_MS = 10_000

interface PresenceSize extends CrowdSize {
  rounds: number
  pauseMs: [number, number]
}

export const p1: Row<PresenceSize, Bed> = {
  name: 'P1',
  title: 'presence while gateways are killed and paused',
  short: { sessions: 60, lateMs: 0, rounds: 2, pauseMs: [2_000, 3_000] },
  full: (minutes) => ({
    sessions: 1_000,
    lateMs: 12_000,
    rounds: Math.max(4, minutes),
    pauseMs: [1_000, 14_000],
  }),
  async run(bed, { random, size, log }) {
    const { stack } = bed
    const faults: string[] = []
    const figures = { sessions: size.sessions, rounds: size.rounds, ghostsMs: 0, returnMs: 0, seenMs: 0 }
    const crowd = await createCrowd(bed, random, size, faults)

    async function kill(name: string): Promise<void> {
      await stack.kill(name)
      await stack.start(name)
    }
    async function pause(name: string): Promise<void> {
      stack.pause(name)
      await delay(random.int(...size.pauseMs))
      stack.resume(name)
    }

    /** Looks until nothing is wrong; what still is after `ms` is a fault. Resolves to how long it took. */
    async function clears(ms: number, what: string, look: () => Promise<Difference[]>): Promise<number> {
      const begun = performance.now()
      let wrong: string[] = []
      const isClear = async () => {
        wrong = await look().then(
          (found) => found.map(({ text }) => text),
          (error: unknown) => [`${error}`],
        )
        return wrong.length === 0
      }
      await until(isClear, { timeoutMs: ms, everyMs: 100 }).catch(() => {
        faults.push(`${what}: after ${ms} ms ${wrong.length} wrong: ${wrong.slice(0, 8).join(', ')}`)
      })
      return Math.round(performance.now() - begun)
    }

    try {
      for (let round = 0; round < size.rounds; round++) {
        const gateway = random.int(0, bed.gatewayUrls.length - 1)
        const trouble = round % 2 === 0 ? kill : pause
        const what = `round ${round + 1}/${size.rounds}, ${trouble.name} gateway-${gateway}`
        log(what)
        crowd.begin(gateway)
        for (const person of random.shuffle(crowd.people).slice(0, Math.ceil(size.sessions / 10))) {
          crowd.turn(person)
        }
        const ghosts = clears(GHOST_MS, what, async () =>
          (await crowd.differences()).filter(({ ghost }) => ghost),
        )
        await trouble(`gateway-${gateway}`)
        crowd.end(gateway)

        const begun = performance.now()
        await until(crowd.settled, { timeoutMs: RETURN_MS }).catch(() => {
          faults.push(`${what}: not all came back`)
        })
        figures.returnMs = Math.max(figures.returnMs, Math.round(performance.now() - begun))
        // Whoever left by the gateway that died is a ghost until its lease has ended.
        figures.ghostsMs = Math.max(figures.ghostsMs, await ghosts)
        figures.seenMs = Math.max(
          figures.seenMs,
          await clears(SEEN_MS, `${what}, all back`, crowd.differences),
        )
      }
      return { faults, figures }
    } finally {
      crowd.close()
    }
  },
}
