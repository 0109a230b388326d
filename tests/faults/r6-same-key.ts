import { createHttp } from '../support/http.ts'
import { type Delivered, deliveryFaults, storageFaults } from '../support/member.ts'
import { openSocket } from '../support/socket.ts'
import { comesTrue, each } from '../support/until.ts'
import type { Bed } from './bed.ts'
import type { Row } from './row.ts'

export const r6: Row<{ times: number; rooms: number }, Bed> = {
  name: 'R6',
  title: 'the same clientMessageId at once by REST on two api processes and over two gateways',
  short: { times: 200, rooms: 4 },
  full: (minutes) => ({ times: Math.min(10_000, Math.ceil(minutes * 3_000)), rooms: 16 }),
  async run(bed, { random, size }) {
    const faults: string[] = []
    const person = 'twin'
    const ids = await Promise.all(Array.from({ length: size.rooms }, () => bed.conversation([person])))
    const sockets = await Promise.all(bed.gatewayUrls.map((url) => openSocket(url, bed.token(person))))
    const witnesses = ids.map((id, index) => bed.member('bare', person, id, index))
    await Promise.all(witnesses.map((witness) => witness.join()))
    const acked = new Map<string, Delivered[]>(ids.map((id) => [id, []]))

    const byRest = (url: string) => {
      const http = createHttp([url], bed.token(person))
      return (body: object) => http.sure<Delivered>('POST', '/messages', body)
    }
    const bySocket = (socket: (typeof sockets)[number]) => async (body: object) => {
      const answer = await socket.timeout(10_000).emitWithAck('message:send', body)
      if (!answer.ok) throw new Error(`refused: ${answer.error.code}`)
      return answer.message as Delivered
    }
    const ways = [...bed.apiUrls.map(byRest), ...sockets.map(bySocket)]

    await each(Array(size.times).keys(), 16, async (number) => {
      const conversationId = random.pick(ids)
      const clientMessageId = `key-${number}`
      const body = { conversationId, role: 'user', content: `Once ${number}`, clientMessageId }
      const answers = await Promise.allSettled(random.shuffle(ways).map((send) => send(body)))
      const got: Delivered[] = []
      for (const answer of answers) {
        if (answer.status === 'rejected') faults.push(`${clientMessageId}: ${answer.reason}`)
        else got.push(answer.value)
      }
      if (new Set(got.map(({ id }) => id)).size > 1) faults.push(`${clientMessageId}: several messages`)
      acked.get(conversationId)?.push(...got)
    })
    let count = 0
    for (const witness of witnesses) {
      const id = witness.conversationId
      const stored = await bed.stored(id, person)
      count += stored.length
      faults.push(...storageFaults(stored, acked.get(id) ?? []))
      await comesTrue(() => witness.log.length >= stored.length, 5_000)
      faults.push(...deliveryFaults(witness, stored))
      witness.close()
    }
    if (count !== size.times) faults.push(`${count} messages for ${size.times} keys`)
    for (const socket of sockets) socket.disconnect()
    return { faults, figures: { keys: size.times, tries: size.times * ways.length, messages: count } }
  },
}
