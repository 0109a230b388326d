import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { counterAt, keptMiB } from '../support/process.ts'
import { openRawPolling, type RawPolling } from '../support/raw-polling.ts'
import { openRawSocket, type RawSocket } from '../support/raw-socket.ts'
import { comesTrue } from '../support/until.ts'
import type { Bed } from './bed.ts'
import { startBystanders } from './bystanders.ts'
import { bearable, greedy, HTTP_GARBAGE, unbearable } from './d3-packets.ts'
import { percentile, type Row } from './row.ts'

/** Raw bytes on the gateway's port; resolves when it has answered or hung up, or after a second. */
function throwAt(port: number, bytes: string): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1', timeout: 1_000 }, () => socket.write(bytes, 'latin1'))
    const done = () => {
      socket.destroy()
      resolve()
    }
    for (const event of ['data', 'error', 'timeout', 'close'] as const) socket.once(event, done)
  })
}

const mib = (memory: ReadonlyMap<string, number>, name: string): number => memory.get(name) ?? 0

/** Who reads what is thrown at the first gateway. */
const READERS = ['gateway-0', 'api-0', 'api-1']
/** Share of the packets after which all code has run, is compiled, and tables and pools have the size of the load. */
const WARM = 1 / 10
const ROUNDS = 9
const MOST_IN_BURST = 80
/** Connections that were told to hang up and may still be reading. */
const LINGERING = 20
const MOST_GROWTH = 1.2
/** Time (ms) for what is under way at the end of the flood to be answered and let go. */
const BACK_MS = 15_000
/** What a conversation holds that is asked for again and again: an answer with all of it is some 800 KB. */
const STORED = 50
const CONTENT = 'x'.repeat(16 * 1_024)
/** Milliseconds within which lines reach a witness meanwhile (p99). */
const ARRIVAL_MS = 1_000
/** Milliseconds within which one is gone that asks for 32 MB and reads nothing. */
const GONE_MS = 10_000
const ASKED = 40

/**
 * Memory is held against that of a process that a tenth of the packets has warmed up, both times with its garbage
 * collected (see {@link keptMiB}). In a million packets a leak of some 30 bytes each then shows.
 */
export const d3: Row<{ packets: number }, Bed> = {
  name: 'D3',
  title: 'malformed packets and frames, from who reads the answers and who does not',
  short: { packets: 4_000 },
  full: (minutes) => ({ packets: Math.min(1_000_000, minutes * 150_000) }),
  async run(bed, { random, size, log }) {
    const faults: string[] = []
    const prefix = `odd${random.int(0, 1e9)}`
    const pids = JSON.stringify(bed.stack.pids)
    const talkers = [`${prefix}-a`, `${prefix}-b`] as const
    const insider = `${prefix}-insider`
    const conversationId = await bed.conversation([...talkers, insider])
    // Nothing is said in it any more, so that only answers find out who does not read them.
    const full = await bed.conversation([insider])
    for (let n = 0; n < STORED; n++) {
      const body = { conversationId: full, role: 'user', content: CONTENT, clientMessageId: `${n}` }
      await bed.http(insider).sure('POST', '/messages', body)
    }
    const bystanders = await startBystanders(bed, conversationId, talkers)
    const url = bed.gatewayUrls[0] ?? ''
    const port = Number(new URL(url).port)
    const tokens = [bed.token(insider), bed.token(`${prefix}-stranger`)]
    const burst = () =>
      Array.from({ length: random.int(0, MOST_IN_BURST) }, () => bearable(random, conversationId))

    const open: (RawSocket | RawPolling)[] = []
    /** Two who send and never read, until they are let go and others take their place. */
    let socket: RawSocket | undefined
    let polling: RawPolling | undefined
    let connections = 0
    function keep<T extends RawSocket | RawPolling>(raw: T): T {
      connections += 1
      open.push(raw)
      if (open.length > LINGERING) open.shift()?.close()
      return raw
    }
    async function deafSocket(): Promise<RawSocket> {
      const socket = keep(await openRawSocket(url, bed.token(insider)))
      socket.stopReading()
      return socket
    }
    const deafPolling = async () => keep(await openRawPolling(url, bed.token(insider)))
    /** Each resolves to how many packets it threw. What comes after an unbearable one goes unread, so it is the last. */
    const ways = {
      async websocket() {
        const raw = keep(await openRawSocket(url, random.pick(tokens)))
        const packets = [...burst(), ...unbearable(random, conversationId)]
        for (const packet of packets) raw.frame(packet)
        // Waits until the socket has taken the frames: the point is what they mean, not how many there are.
        while (raw.open && raw.ws.bufferedAmount > 0) await delay(1)
        return packets.length
      },
      async polling() {
        const raw = keep(await openRawPolling(url, random.pick(tokens)))
        const packets = burst()
        raw.read()
        await raw.packets(packets)
        raw.read()
        const last = unbearable(random, conversationId)
        await raw.packets(last.map((one) => (typeof one === 'string' ? one : `b${one.toString('base64')}`)))
        return packets.length + last.length
      },
      async deaf() {
        const packets = [...burst(), greedy(random, full)]
        if (random.next() < 0.5) {
          if (!socket?.open) socket = await deafSocket()
          for (const packet of packets) socket.frame(packet)
        } else {
          if (!polling?.open) polling = await deafPolling()
          await polling.packets(packets)
        }
        return packets.length
      },
    }
    const way = () => random.pick([ways.websocket, ways.websocket, ways.websocket, ways.polling, ways.deaf])
    async function throwPackets(count: number): Promise<void> {
      for (let n = 0; n < count; ) {
        const thrown = await way()().catch(() => null)
        if (thrown === null) await delay(20)
        else n += thrown
        await throwAt(port, random.pick(HTTP_GARBAGE))
      }
    }
    const joins = () =>
      counterAt(url, 'gateway_client_events_total', 'event="conversation:join",outcome="ok"')
    /** Two who never read, each asking for far more than a connection may hold, before anybody else does. */
    async function overflow(): Promise<void> {
      const before = await joins()
      const packets = Array.from({ length: ASKED }, () => greedy(random, full))
      const [socket, polling] = await Promise.all([deafSocket(), deafPolling()])
      for (const packet of packets) socket.frame(packet)
      await polling.packets(packets)
      // Who does not read learns of the end by writing.
      const gone = async () => {
        socket.frame('3')
        await polling.packets(['3'])
        return !socket.open && !polling.open
      }
      if (!(await comesTrue(gone, GONE_MS))) faults.push('who asks and never reads is still there')
      // What the system holds for a connection takes a few answers.
      const given = (await joins()) - before
      if (given > ASKED) faults.push(`two who never read were answered ${given} of ${2 * ASKED} times`)
    }

    const memory = async () => new Map(await Promise.all(READERS.map(measure)))
    const measure = async (name: string) => [name, Math.round(await keptMiB(bed.stack, name))] as const
    /** Events of clients that the gateway has answered, whatever it answered. */
    const answered = () => counterAt(url, 'gateway_client_events_total')
    const eventsBefore = await answered()
    await overflow()
    await throwPackets(Math.ceil(size.packets * WARM))
    const before = await memory()
    bystanders.talk()
    for (let round = 0; round < ROUNDS; round++) {
      log(`${Math.round(size.packets * WARM * (round + 1))} packets, ${connections} connections`)
      await throwPackets(Math.ceil((size.packets * (1 - WARM)) / ROUNDS))
    }
    for (const raw of open) raw.close()
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
    const grown = () => READERS.filter((name) => mib(after, name) > mib(before, name) * MOST_GROWTH)
    await comesTrue(async () => {
      after = await memory()
      return grown().length === 0
    }, BACK_MS)
    for (const name of grown()) faults.push(`${name}: ${mib(before, name)} → ${mib(after, name)} MiB`)
    return {
      faults,
      figures: {
        packets: size.packets,
        connections,
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
