import { setTimeout as delay } from 'node:timers/promises'
import { deliveryFaults } from '../support/member.ts'
import { counterAt, keptMiB } from '../support/process.ts'
import { openRawSocket } from '../support/raw-socket.ts'
import { comesTrue } from '../support/until.ts'
import type { Bed } from './bed.ts'
import type { Row } from './row.ts'

/** What the process may grow by that has nothing to do with the readers' buffers: code, and messages under way. */
const SLACK_MIB = 16
/** Milliseconds in which one is gone that was found to read too slowly. */
const GONE_MS = 10_000
const WARM_BATCHES = 5
const CONTENT = 'x'.repeat(60 * 1024)

export const d2: Row<{ readers: number; mostMessages: number }, Bed> = {
  name: 'D2',
  title: 'readers that stop reading',
  short: { readers: 5, mostMessages: 400 },
  full: () => ({ readers: 50, mostMessages: 1_000 }),
  async run(bed, { random, size, log }) {
    const faults: string[] = []
    const prefix = `slow${random.int(0, 1e9)}`
    const names = Array.from({ length: size.readers }, (_, who) => `${prefix}-${who}`)
    const [sender, witness] = [`${prefix}-sender`, `${prefix}-witness`]
    const conversationId = await bed.conversation([sender, witness, ...names])
    const good = bed.member('bare', witness, conversationId, 0)
    await good.join()
    const url = bed.gatewayUrls[0] ?? ''
    const readers = await Promise.all(names.map((name) => openRawSocket(url, bed.token(name))))
    await Promise.all(readers.map((reader) => reader.request('conversation:join', { conversationId })))
    const tooSlow = () => counterAt(url, 'gateway_slow_readers_total')
    const http = bed.http(sender)
    let sent = 0
    const sendSome = () =>
      Promise.all(
        Array.from({ length: 10 }, () =>
          http.sure('POST', '/messages', {
            conversationId,
            role: 'user',
            content: CONTENT,
            clientMessageId: `${prefix}-${sent++}`,
          }),
        ),
      )
    // What so many and so large messages take for themselves is there before anybody is slow.
    for (let batch = 0; batch < WARM_BATCHES; batch++) await sendSome()
    const before = await keptMiB(bed.stack, 'gateway-0')
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
    let most = before
    let flooding = true
    const flood = async () => {
      while (flooding && sent < size.mostMessages) {
        await sendSome()
        most = Math.max(most, await keptMiB(bed.stack, 'gateway-0'))
      }
      flooding = false
    }
    const flooded = flood()
    while (goneAt.length < size.readers && late() === 0 && (flooding || goneAt.length < slowAt.length)) {
      await look()
      await delay(100)
    }
    flooding = false
    await flooded
    if (goneAt.length < size.readers) {
      faults.push(`${size.readers - goneAt.length} of ${size.readers} are still there after ${sent} messages`)
    }
    if (late() > 0)
      faults.push(`${late()} were there for more than ${GONE_MS} ms after they had been found slow`)
    const goneMs = Math.max(...slowAt.map((at, nth) => Math.round((goneAt[nth] ?? performance.now()) - at)))
    const growth = Math.round(most - before)
    if (growth > size.readers + SLACK_MIB) faults.push(`the gateway grew by ${growth} MiB`)
    const stored = await bed.stored(conversationId, sender)
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
