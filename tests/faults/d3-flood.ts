import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { counterAt } from '../support/process.ts'
import type { Random } from '../support/random.ts'
import { openRawPolling, type RawPolling } from '../support/raw-polling.ts'
import { openRawSocket, type RawSocket } from '../support/raw-socket.ts'
import { comesTrue } from '../support/until.ts'
import type { Bed } from './bed.ts'
import { bearable, greedy, HTTP_GARBAGE, unbearable } from './d3-packets.ts'

const MAX_IN_BURST = 80
/** Connections that were told to hang up and may still be reading. */
const LINGERING = 20
/** What a conversation holds that is asked for: an answer with all of it is some 800 KB. */
const STORED = 50
const CONTENT = 'x'.repeat(16 * 1_024)
/** Milliseconds within which who never reads is gone. */
const GONE_MS = 10_000
const ASKED = 40

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

/** A client that sends and never reads, by either transport. */
const deafTo = {
  async socket(url: string, token: string): Promise<RawSocket> {
    const socket = await openRawSocket(url, token)
    socket.stopReading()
    return socket
  },
  polling: openRawPolling,
}

/**
 * Throws malformed packets at the first gateway, as `insider`, who takes part in the conversation, and as a stranger.
 */
export function createFlood(
  bed: Bed,
  random: Random,
  { conversationId, insider }: { conversationId: string; insider: string },
) {
  const url = bed.gatewayUrls[0] ?? ''
  const port = Number(new URL(url).port)
  const own = bed.token(insider)
  const tokens = [own, bed.token(`${insider}-stranger`)]
  const open: (RawSocket | RawPolling)[] = []
  /** These two never read, until they are let go and others take their place. */
  let socket: RawSocket | undefined
  let polling: RawPolling | undefined
  let connections = 0

  const burst = () =>
    Array.from({ length: random.int(0, MAX_IN_BURST) }, () => bearable(random, conversationId))
  function keep<T extends RawSocket | RawPolling>(raw: T): T {
    connections += 1
    open.push(raw)
    if (open.length > LINGERING) open.shift()?.close()
    return raw
  }
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
      const packets = burst()
      if (random.next() < 0.5) {
        if (!socket?.open) socket = await deafTo.socket(url, own)
        for (const packet of packets) socket.frame(packet)
      } else {
        if (!polling?.open) polling = await deafTo.polling(url, own)
        await polling.packets(packets)
      }
      return packets.length
    },
  }
  const way = () => random.pick([ways.websocket, ways.websocket, ways.websocket, ways.polling, ways.deaf])

  return {
    get connections(): number {
      return connections
    },
    async throw(count: number): Promise<void> {
      for (let n = 0; n < count; ) {
        const thrown = await way()().catch(() => null)
        if (thrown === null) await delay(20)
        else n += thrown
        await throwAt(port, random.pick(HTTP_GARBAGE))
      }
    },
    close(): void {
      for (const raw of [...open, socket, polling]) raw?.close()
    },
  }
}

/**
 * Two who never read, by either transport, each asking for 32 MB in one piece. Nothing else is said in the conversation
 * that they ask for, so that only the answers find them out.
 */
export async function greedFaults(bed: Bed, name: string): Promise<string[]> {
  const faults: string[] = []
  const url = bed.gatewayUrls[0] ?? ''
  const conversationId = await bed.conversation([name])
  const http = bed.http(name)
  for (let n = 0; n < STORED; n++) {
    const body = { conversationId, role: 'user', content: CONTENT, clientMessageId: `${n}` }
    await http.sure('POST', '/messages', body)
  }
  const joins = () => counterAt(url, 'gateway_client_events_total', 'event="conversation:join",outcome="ok"')
  const before = await joins()
  const socket = await deafTo.socket(url, bed.token(name))
  const polling = await deafTo.polling(url, bed.token(name))
  const packets = Array.from({ length: ASKED }, (_, n) => greedy(n, conversationId))
  for (const packet of packets) socket.frame(packet)
  await polling.packets(packets)
  // A client that does not read learns of the end by writing.
  const gone = async () => {
    socket.frame('3')
    await polling.packets(['3'])
    return !socket.open && !polling.open
  }
  if (!(await comesTrue(gone, GONE_MS))) faults.push('a client that asks and never reads is still there')
  socket.close()
  polling.close()
  // What the system holds for a connection takes a few answers.
  const given = (await joins()) - before
  if (given > ASKED) faults.push(`two who never read were answered ${given} of ${2 * ASKED} times`)
  return faults
}
