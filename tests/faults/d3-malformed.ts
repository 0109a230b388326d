import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { deliveryFaults } from '../support/member.ts'
import { counterAt, keptMiB } from '../support/process.ts'
import type { Random } from '../support/random.ts'
import { openRawSocket, type RawSocket } from '../support/raw-socket.ts'
import { comesTrue } from '../support/until.ts'
import type { Bed } from './bed.ts'
import type { Row } from './row.ts'

const EVENTS = [
  'conversation:join',
  'conversation:leave',
  'conversation:online',
  'message:send',
  'message:typing',
  'message:read',
  'message:stream',
  'message:cancel',
  'auth:refresh',
]
const ODD_EVENTS = ['', 'error', '__proto__', 'constructor', 'toString', 'x']
const RESERVED_EVENTS = ['connect', 'disconnect', 'newListener']
const ODD_VALUES = [
  'null',
  'true',
  '0',
  '-1e999',
  '"x"',
  '[]',
  '{}',
  '{"conversationId":null}',
  '{"conversationId":"zzzzzzzzzzzzzzzzzzzzzzzz"}',
  '{"conversationId":"000000000000000000000000"}',
  '{"conversationId":{"$ne":1},"seq":1}',
  '{"__proto__":{"isAdmin":true},"constructor":1}',
  '{"conversationId":"000000000000000000000000","afterSeq":-1}',
  '{"conversationId":"000000000000000000000000","role":"user","content":{"$gt":""}}',
  '{"op":"delta","messageId":"000000000000000000000000","index":1e15,"text":"x"}',
  '{"op":"start"}',
  '{"_placeholder":true,"num":0}',
  '{"token":"a.b.c"}',
]

function garbage(random: Random): string {
  return Array.from({ length: random.int(0, 200) }, () => String.fromCharCode(random.int(0, 0xffff))).join('')
}

/** A frame that no client of ours would send, and that a server can refuse without ending the connection. */
function bearable(random: Random): string {
  const event = JSON.stringify(random.next() < 0.8 ? random.pick(EVENTS) : random.pick(ODD_EVENTS))
  const value = random.pick(ODD_VALUES)
  const id = random.next() < 0.5 ? random.int(0, 99) : ''
  switch (random.int(0, 9)) {
    case 0:
      return `43/chat,${random.int(0, 1e9)}[${value}]`
    case 1:
      return `42/chat,${id}[${event},${'['.repeat(500)}${']'.repeat(500)}]`
    default:
      return `42/chat,${id}[${event},${value}${random.next() < 0.2 ? `,${value}` : ''}]`
  }
}

/** Frames after which a server may hang up: not of the protocol at all. */
function unbearable(random: Random): (string | Buffer)[] {
  const event = JSON.stringify(random.pick(random.next() < 0.5 ? EVENTS : RESERVED_EVENTS))
  const value = random.pick(ODD_VALUES)
  switch (random.int(0, 6)) {
    case 0:
      return [garbage(random)]
    case 1:
      return [`4${garbage(random)}`]
    case 2:
      return [Buffer.from(garbage(random))]
    case 3:
      return [`42/chat,[${event},${value}`]
    case 4:
      return [`42/nowhere,[${event},${value}]`]
    case 5:
      return [`451-/chat,[${event},${value}]`, random.next() < 0.5 ? '42/chat,["x"]' : Buffer.from('x')]
    default:
      return [`42/chat,[${event},${value}]`, 'x']
  }
}

const HTTP_GARBAGE = [
  'GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n',
  'GET /socket.io/?EIO=9&transport=carrier HTTP/1.1\r\nHost: x\r\n\r\n',
  'POST /socket.io/?EIO=4&transport=polling&sid=nobody HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n\x1e\x1e\x1e',
  'GET /presence/%ff/%00 HTTP/1.1\r\nHost: x\r\n\r\n',
  'NONSENSE\r\n\r\n',
  '\x00\xff\x16\x03\x01',
]

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

/**
 * Memory is held against that of a process that a tenth of the packets has warmed up, both times with its garbage
 * collected (see {@link keptMiB}). In a million packets a leak of some 30 bytes each then shows.
 */
export const d3: Row<{ packets: number }, Bed> = {
  name: 'D3',
  title: 'malformed packets and frames',
  short: { packets: 4_000 },
  full: (minutes) => ({ packets: Math.min(1_000_000, minutes * 150_000) }),
  async run(bed, { random, size, log }) {
    const faults: string[] = []
    const prefix = `odd${random.int(0, 1e9)}`
    const pids = JSON.stringify(bed.stack.pids)
    const conversationId = await bed.conversation([`${prefix}-a`, `${prefix}-b`])
    const sender = bed.member('bare', `${prefix}-a`, conversationId, 0)
    const witness = bed.member('bare', `${prefix}-b`, conversationId, 0)
    await Promise.all([sender.join(), witness.join()])
    const url = bed.gatewayUrls[0] ?? ''
    const port = Number(new URL(url).port)
    const token = bed.token(`${prefix}-rude`)

    const open: RawSocket[] = []
    let connections = 0
    /** What comes after an unbearable frame goes unread, so that each connection sends one, at its end. */
    async function throwPackets(count: number): Promise<void> {
      for (let n = 0; n < count; ) {
        const raw = await openRawSocket(url, token).catch(() => null)
        if (!raw) {
          await delay(20)
          continue
        }
        connections += 1
        open.push(raw)
        if (open.length > LINGERING) open.shift()?.close()
        for (let burst = random.int(0, MOST_IN_BURST); burst > 0; burst--, n++) raw.frame(bearable(random))
        for (const frame of unbearable(random)) raw.frame(frame)
        n += 1
        await throwAt(port, random.pick(HTTP_GARBAGE))
        // Waits until the socket has taken the frames: the point is what they mean, not how many there are.
        while (raw.open && raw.ws.bufferedAmount > 0) await delay(1)
      }
    }

    const memory = async () => new Map(await Promise.all(READERS.map(measure)))
    const measure = async (name: string) => [name, Math.round(await keptMiB(bed.stack, name))] as const
    /** Events of clients that the gateway has answered, whatever it answered. */
    const answered = () => counterAt(url, 'gateway_client_events_total')
    const eventsBefore = await answered()
    await throwPackets(Math.ceil(size.packets * WARM))
    const before = await memory()
    for (let round = 0; round < ROUNDS; round++) {
      log(`${Math.round(size.packets * WARM * (round + 1))} packets, ${connections} connections`)
      await throwPackets(Math.ceil((size.packets * (1 - WARM)) / ROUNDS))
      await sender.send(`Still here ${round}`, `${prefix}-${round}`)
    }
    for (const raw of open) raw.close()
    const stored = await bed.stored(conversationId, `${prefix}-a`)
    await comesTrue(() => witness.log.length === ROUNDS, 5_000)
    if (stored.length !== ROUNDS) faults.push(`${stored.length} messages are stored, ${ROUNDS} were sent`)
    faults.push(...deliveryFaults(witness, stored), ...deliveryFaults(sender, stored))
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
    sender.close()
    witness.close()
    return {
      faults,
      figures: {
        packets: size.packets,
        connections,
        events,
        ...Object.fromEntries(
          READERS.map((name) => [`${name} MiB`, `${mib(before, name)} → ${mib(after, name)}`]),
        ),
      },
    }
  },
}
