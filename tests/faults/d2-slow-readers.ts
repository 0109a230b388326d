import { deliveryFaults } from '../support/member.ts'
import { residentMiB } from '../support/process.ts'
import { openRawSocket } from '../support/raw-socket.ts'
import { comesTrue } from '../support/until.ts'
import type { Bed } from './bed.ts'
import type { Row } from './row.ts'

/** What the process may grow by that has nothing to do with the readers' buffers: garbage, code, pages. */
const SLACK_MIB = 96
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
    const gateway = bed.stack.pids['gateway-0']
    const before = await residentMiB(gateway)
    for (const reader of readers) reader.stopReading()

    const http = bed.http(sender)
    const online = async () => (await good.online()).filter((name) => names.includes(name)).length
    let sent = 0
    let most = before
    let firstGoneAt = 0
    log(`${size.readers} readers stop`)
    while (sent < size.mostMessages && (await online()) > 0) {
      await Promise.all(
        Array.from({ length: 10 }, () =>
          http.sure('POST', '/messages', {
            conversationId,
            role: 'user',
            content: CONTENT,
            clientMessageId: `${prefix}-${sent++}`,
          }),
        ),
      )
      most = Math.max(most, await residentMiB(gateway))
      if (firstGoneAt === 0 && (await online()) < size.readers) firstGoneAt = performance.now()
      // Ten seconds after the first of them was put out all have had the same fill and the same time.
      if (firstGoneAt > 0 && performance.now() - firstGoneAt > 10_000) break
    }
    if (!(await comesTrue(async () => (await online()) === 0, 12_000))) {
      faults.push(`${await online()} of ${size.readers} are still there after ${sent} messages`)
    }
    const growth = Math.round(most - before)
    if (growth > size.readers + SLACK_MIB) faults.push(`the gateway grew by ${growth} MiB`)
    const stored = await bed.stored(conversationId, sender)
    await comesTrue(() => good.log.at(-1)?.seq === stored.at(-1)?.seq, 10_000)
    faults.push(...deliveryFaults(good, stored))
    for (const reader of readers) reader.close()
    good.close()
    return { faults, figures: { readers: size.readers, messages: sent, growthMiB: growth } }
  },
}
