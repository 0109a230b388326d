import { setTimeout as delay } from 'node:timers/promises'
import { deliveryFaults } from '../support/member.ts'
import { counterAt, heldMiB } from '../support/process.ts'
import { openRawSocket } from '../support/raw-socket.ts'
import { comesTrue, each } from '../support/until.ts'
import type { Bed } from './bed.ts'
import type { Row } from './row.ts'

/**
 * What the process may grow by: for each reader what may wait for it, and the last messages that its room keeps for who
 * joins; in all what is under way at the moment, and code.
 */
const MAX_MIB = { each: 1 + 1 / 4, besides: 4 }
/** Milliseconds in which one is gone that was found to read too slowly. */
const GONE_MS = 10_000
const WARM_MESSAGES = 2
/** Sends at a time. */
const WIDTH = 10
/** Messages to all that are less than what the kernel keeps for one (seen: 3.8 MiB). */
const KERNEL_MESSAGES = 14
/** A call whose arguments are long: few messages fill what the kernel keeps for a reader. */
const CALL = { id: 'call', name: 'look', arguments: 'x'.repeat(240 * 1024) }

export const d2: Row<{ readers: number; mostMessages: number }, Bed> = {
  name: 'D2',
  title: 'readers that stop reading',
  short: { readers: 5, mostMessages: 60 },
  full: () => ({ readers: 50, mostMessages: 60 }),
  async run(bed, { random, size, log }) {
    const faults: string[] = []
    const prefix = `slow${random.int(0, 1e9)}`
    const names = Array.from({ length: size.readers }, (_, who) => `${prefix}-${who}`)
    const [sender, witness] = [`${prefix}-sender`, `${prefix}-witness`]
    const shared = await bed.conversation([sender, witness, ...names])
    const good = bed.member('bare', witness, shared, 0)
    await good.join()
    const url = bed.gatewayUrls[0] ?? ''
    // Each in a room of its own, too: what waits for many readers of one room is held once.
    const rooms = await Promise.all(names.map((name) => bed.conversation([sender, witness, name])))
    const tester = await openRawSocket(url, bed.token(witness))
    for (const conversationId of rooms) await tester.request('conversation:join', { conversationId })
    const tooSlow = () => counterAt(url, 'gateway_slow_readers_total')
    const http = bed.http(sender)
    let sent = 0
    const send = async (conversationId: string, toolCalls: object[]) => {
      const clientMessageId = `${prefix}-${sent++}`
      const body = { conversationId, role: 'user', content: 'look', toolCalls, clientMessageId }
      await http.sure('POST', '/messages', body)
    }
    /** A message for each reader. */
    const sendRound = () => each(rooms, WIDTH, (own) => send(own, [CALL]))
    // What so many and so large messages take for themselves is there before anybody is slow.
    for (let round = 0; round < WARM_MESSAGES; round++) await sendRound()
    tester.close()
    // These have read next to nothing yet, so that the kernel keeps little for them.
    const readers = await Promise.all(
      names.map(async (name, nth) => {
        const reader = await openRawSocket(url, bed.token(name))
        for (const conversationId of [shared, rooms[nth]]) {
          await reader.request('conversation:join', { conversationId })
        }
        return reader
      }),
    )
    const before = await heldMiB(bed.stack, 'gateway-0')
    const slowBefore = await tooSlow()
    for (const reader of readers) reader.stopReading()
    log(`${size.readers} readers stop`)

    /** When the first, second, … was found to be slow, and when it was gone. */
    const slowAt: number[] = []
    const goneAt: number[] = []
    const late = () => slowAt.filter((at, nth) => (goneAt[nth] ?? performance.now()) - at > GONE_MS).length
    const look = async () => {
      const slow = (await tooSlow()) - slowBefore
      while (slowAt.length < slow) slowAt.push(performance.now())
      const here = (await good.online()).filter((name) => names.includes(name)).length
      while (goneAt.length < size.readers - here) goneAt.push(performance.now())
    }
    let flooding = true
    const flood = async () => {
      for (let n = 0; n < KERNEL_MESSAGES; n++) await send(shared, [CALL])
      for (let round = 0; flooding && round < size.mostMessages; round++) await sendRound()
      flooding = false
    }
    let most = before
    let watching = true
    const watch = async () => {
      for (; watching; await delay(500)) most = Math.max(most, await heldMiB(bed.stack, 'gateway-0'))
    }
    const working = [flood(), watch()]
    while (goneAt.length < size.readers && late() === 0 && (flooding || goneAt.length < slowAt.length)) {
      await look()
      if (slowAt.length === size.readers) flooding = false
      await delay(100)
    }
    flooding = false
    watching = false
    await Promise.all(working)
    if (goneAt.length < size.readers) {
      faults.push(`${size.readers - goneAt.length} of ${size.readers} are still there after ${sent} messages`)
    }
    if (slowAt.length < goneAt.length) {
      faults.push(`${goneAt.length - slowAt.length} were gone and had not been found slow`)
    }
    if (late() > 0)
      faults.push(`${late()} were there for more than ${GONE_MS} ms after they had been found slow`)
    const goneMs = Math.max(...slowAt.map((at, nth) => Math.round((goneAt[nth] ?? performance.now()) - at)))
    const growth = Math.round(most - before)
    if (growth > size.readers * MAX_MIB.each + MAX_MIB.besides) {
      faults.push(`the gateway grew by ${growth} MiB`)
    }
    const stored = await bed.stored(shared, sender)
    await comesTrue(() => good.log.at(-1)?.seq === stored.at(-1)?.seq, 10_000)
    faults.push(...deliveryFaults(good, stored))
    for (const reader of readers) reader.close()
    good.close()
    return {
      faults,
      figures: { readers: size.readers, messages: sent, slow: slowAt.length, goneMs, growthMiB: growth },
    }
  },
}
