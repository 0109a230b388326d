import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { deliveryFaults } from '../support/member.ts'
import { heapMiB } from '../support/process.ts'
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
const ODD_EVENTS = [
  '',
  'connect',
  'disconnect',
  'error',
  'newListener',
  '__proto__',
  'constructor',
  'toString',
  'x',
]
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

/** What V8 lets pile up between two full collections in a process of this size; a leak grows past it. */
const HEAP_SLACK_MIB = 64

/** One frame that no client of ours would send. */
function malformed(random: Random): string | Buffer {
  const event = JSON.stringify(random.next() < 0.8 ? random.pick(EVENTS) : random.pick(ODD_EVENTS))
  const value = random.pick(ODD_VALUES)
  const id = random.next() < 0.5 ? random.int(0, 99) : ''
  switch (random.int(0, 11)) {
    case 0:
      return garbage(random)
    case 1:
      return `4${garbage(random)}`
    case 2:
      return Buffer.from(garbage(random))
    case 3:
      return `42/chat,${id}[${event},${value}`
    case 4:
      return `42/nowhere,${id}[${event},${value}]`
    case 5:
      return `451-/chat,${id}[${event},${value}]`
    case 6:
      return `43/chat,${random.int(0, 1e9)}[${value}]`
    case 7:
      return `42/chat,${id}[${event},${'['.repeat(500)}${']'.repeat(500)}]`
    default:
      return `42/chat,${id}[${event},${value}${random.next() < 0.2 ? `,${value}` : ''}]`
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

    let raw: RawSocket | null = null
    let connections = 0
    async function throwPackets(count: number): Promise<void> {
      for (let n = 0; n < count; ) {
        if (!raw?.open) {
          raw?.close()
          raw = await openRawSocket(url, token).catch(() => null)
          connections += 1
          if (!raw) {
            await delay(20)
            continue
          }
        }
        for (let burst = 0; burst < 50 && n < count; burst++, n++) raw.frame(malformed(random))
        await throwAt(port, random.pick(HTTP_GARBAGE))
        // Waits until the socket has taken the frames: the point is what they mean, not how many there are.
        while (raw.open && raw.ws.bufferedAmount > 0) await delay(1)
      }
    }

    // The heap's low-water marks: resident memory says more about the collector than about what is kept.
    let lowest = Number.POSITIVE_INFINITY
    const sampler = setInterval(() => {
      heapMiB(url).then(
        (now) => {
          lowest = Math.min(lowest, now)
        },
        (error: unknown) => faults.push(`metrics do not answer: ${error}`),
      )
    }, 250)
    lowest = await heapMiB(url)
    await throwPackets(Math.ceil(size.packets / 10))
    const before = lowest
    const rounds = 9
    for (let round = 0; round < rounds; round++) {
      log(`${Math.round((size.packets / 10) * (round + 2))} packets, ${connections} connections`)
      if (round === 4) lowest = Number.POSITIVE_INFINITY
      await throwPackets(Math.ceil(size.packets / 10))
      await sender.send(`Still here ${round}`, `${prefix}-${round}`)
    }
    raw = null
    const stored = await bed.stored(conversationId, `${prefix}-a`)
    await comesTrue(() => witness.log.length === rounds, 5_000)
    if (stored.length !== rounds) faults.push(`${stored.length} messages are stored, ${rounds} were sent`)
    faults.push(...deliveryFaults(witness, stored), ...deliveryFaults(sender, stored))
    if (JSON.stringify(bed.stack.pids) !== pids) faults.push('a process died')
    clearInterval(sampler)
    const after = Math.min(lowest, await heapMiB(url))
    if (after > before * 1.2 + HEAP_SLACK_MIB) {
      faults.push(`heap ${Math.round(before)} → ${Math.round(after)} MiB`)
    }
    sender.close()
    witness.close()
    return {
      faults,
      figures: {
        packets: size.packets,
        connections,
        heapBeforeMiB: Math.round(before),
        heapAfterMiB: Math.round(after),
      },
    }
  },
}
