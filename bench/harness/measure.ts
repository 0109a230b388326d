import { readdirSync, readFileSync } from 'node:fs'

/** Median of some figures, and the range that holds the middle half of them. */
export interface Spread {
  median: number
  low: number
  high: number
}

export function spread(figures: readonly number[]): Spread {
  const sorted = [...figures].sort((a, b) => a - b)
  const at = (share: number): number => {
    const position = share * (sorted.length - 1)
    const below = sorted[Math.floor(position)] ?? Number.NaN
    const above = sorted[Math.ceil(position)] ?? Number.NaN
    return below + (above - below) * (position - Math.floor(position))
  }
  return { median: at(0.5), low: at(0.25), high: at(0.75) }
}

/** The median of figures of which the first so many were taken while it warmed up. */
export const settled = (figures: readonly number[], warmUps: number): number =>
  spread(figures.slice(warmUps)).median

export const percentile = (figures: readonly number[], share: number): number => {
  const sorted = [...figures].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN
}

/** One figure of Parley's and one of the rival's, taken one right after the other. */
export interface Pair {
  parley: number
  rival: number
}

/**
 * Measures both in the order A B B A, so that a machine that slows down or warms up favours neither. `pairs` of them,
 * after `warmUps` of each that do not count.
 */
export async function inPairs(
  parley: () => Promise<number>,
  rival: () => Promise<number>,
  { pairs = 7, warmUps = 1 }: { pairs?: number; warmUps?: number } = {},
): Promise<{ ratio: Spread; parley: Spread; rival: Spread }> {
  for (let round = 0; round < warmUps; round++) {
    await parley()
    await rival()
  }
  const taken: Pair[] = []
  for (let pair = 0; pair < pairs; pair++) {
    if (pair % 2 === 0) {
      const own = await parley()
      taken.push({ parley: own, rival: await rival() })
    } else {
      const other = await rival()
      taken.push({ parley: await parley(), rival: other })
    }
  }
  return {
    ratio: spread(taken.map((pair) => pair.parley / pair.rival)),
    parley: spread(taken.map((pair) => pair.parley)),
    rival: spread(taken.map((pair) => pair.rival)),
  }
}

/**
 * Milliseconds of processor time that the threads of these processes have had, user and system; from /proc, where
 * `stat` would round each process to hundredths of a second. A thread that ends takes its share along.
 */
export function cpuMs(pids: readonly number[]): number {
  let ns = 0
  for (const pid of pids) {
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      const [running] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')
      ns += Number(running)
    }
  }
  return ns / 1e6
}

/** Bytes of memory that a process holds for itself (resident, not shared with files). */
export function residentBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/RssAnon:\s+(\d+) kB/.exec(status)?.[1] ?? Number.NaN) * 1_024
}
