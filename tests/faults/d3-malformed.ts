import { counterAt, keptMiB } from '../support/process.ts'
import { comesTrue } from '../support/until.ts'
import type { Bed } from './bed.ts'
import { startBystanders } from './bystanders.ts'
import { createFlood, greedFaults } from './d3-flood.ts'
import { percentile, type Row } from './row.ts'

const mib = (memory: ReadonlyMap<string, number>, name: string): number => memory.get(name) ?? 0

/** The processes that read what is thrown at the first gateway. */
const READERS = ['gateway-0', 'api-0', 'api-1']
/** Share of the packets after which all code has run, is compiled, and tables and pools have the size of the load. */
const WARM = 1 / 10
const ROUNDS = 9
const MAX_GROWTH = 1.2
/** Time (ms) for what is under way at the end of the flood to be answered and let go. */
const BACK_MS = 15_000
/** Milliseconds within which lines reach a witness meanwhile (p99). */
const ARRIVAL_MS = 1_000

/**
 * Memory is held against that of a process that a tenth of the packets has warmed up, both times with its garbage
 * collected (see {@link keptMiB}). In a million packets a leak of some 30 bytes each then shows.
 */
export const d3: Row<{ packets: number }, Bed> = {
  name: 'D3',
  title: 'malformed packets and frames, from clients that read the answers and clients that do not',
  short: { packets: 4_000 },
  full: (minutes) => ({ packets: Math.min(1_000_000, Math.ceil(minutes * 150_000)) }),
  async run(bed, { random, size, log }) {
    const faults: string[] = []
    const prefix = `odd${random.int(0, 1e9)}`
    const pids = JSON.stringify(bed.stack.pids)
    const talkers = [`${prefix}-a`, `${prefix}-b`] as const
    const insider = `${prefix}-insider`
    const conversationId = await bed.conversation([...talkers, insider])
    const bystanders = await startBystanders(bed, conversationId, talkers)
    const url = bed.gatewayUrls[0] ?? ''
    const flood = createFlood(bed, random, { conversationId, insider })
    const memory = async () => new Map(await Promise.all(READERS.map(measure)))
    const measure = async (name: string) => [name, Math.round(await keptMiB(bed.stack, name))] as const
    /** Events of clients that the gateway has answered, whatever it answered. */
    const answered = () => counterAt(url, 'gateway_client_events_total')
    const eventsBefore = await answered()
    faults.push(...(await greedFaults(bed, `${prefix}-greedy`)))
    await flood.throw(Math.ceil(size.packets * WARM))
    const before = await memory()
    bystanders.talk()
    for (let round = 0; round < ROUNDS; round++) {
      log(`${Math.round(size.packets * WARM * (round + 1))} packets, ${flood.connections} connections`)
      await flood.throw(Math.ceil((size.packets * (1 - WARM)) / ROUNDS))
    }
    flood.close()
    const { acks, arrivals } = await bystanders.stop()
    faults.push(...(await bystanders.faults()))
    const stored = await bed.stored(conversationId, insider)
    if (stored.length !== acks.length) {
      faults.push(`${stored.length} messages are stored, ${acks.length} were sent`)
    }
    const arrivalP99 = percentile(arrivals, 0.99)
    if (!(arrivals.length > 0 && arrivalP99 <= ARRIVAL_MS)) {
      faults.push(`${arrivals.length} lines arrived meanwhile, after ${arrivalP99} ms (p99)`)
    }
    await bystanders.close()
    if (JSON.stringify(bed.stack.pids) !== pids) faults.push('a process died')
    const events = (await answered()) - eventsBefore
    if (events < size.packets / 2) faults.push(`only ${events} of ${size.packets} packets came to be events`)
    let after = await memory()
    const grown = () => READERS.filter((name) => mib(after, name) > mib(before, name) * MAX_GROWTH)
    await comesTrue(async () => {
      after = await memory()
      return grown().length === 0
    }, BACK_MS)
    for (const name of grown()) faults.push(`${name}: ${mib(before, name)} → ${mib(after, name)} MiB`)
    return {
      faults,
      figures: {
        packets: size.packets,
        connections: flood.connections,
        events,
        lines: arrivals.length,
        arrivalP99,
        'found out': await counterAt(url, 'gateway_slow_readers_total'),
        ...Object.fromEntries(
          READERS.map((name) => [`${name} MiB`, `${mib(before, name)} → ${mib(after, name)}`]),
        ),
      },
    }
  },
}
