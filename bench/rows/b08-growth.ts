import { createParley } from '@parley/client'
import { inPairs } from '../harness/measure.ts'
import type { Cell, Row } from '../harness/report.ts'
import { fillConversation } from '../harness/seed.ts'
import { medianMs, type Solo, startSolo } from '../harness/solo.ts'

const TIMES = 40
const SMALL = 1_000

/** What a call costs when the conversation has grown. */
export const row: Row = {
  id: 'B8',
  title: 'create, list, join and context as a conversation grows; create as its people do',
  async *run({ full }) {
    const large = full ? 1_000_000 : 100_000
    const solo = await startSolo({ gateways: 1 })
    try {
      const [small, big] = [await solo.conversation(), await solo.conversation()]
      await fillConversation(solo.stack.mongodbUri, small, SMALL)
      await fillConversation(solo.stack.mongodbUri, big, large)
      const grown = (name: string, call: (id: string, turn: number) => Promise<unknown>) =>
        growth(`${name}, ${SMALL} → ${large} messages`, small, big, call)
      yield await grown('create', (id, turn) => solo.send(id, `line ${turn}`))
      yield await grown('list 50', (id) => solo.get(`/messages/conversation/${id}`))
      yield await grown('context', (id) => solo.get(`/conversations/${id}/context`))
      yield await grown('join', (id) => joinOnce(solo, id))
      yield await byParticipants(solo)
    } finally {
      await solo.close()
    }
  },
}

async function growth(
  name: string,
  small: string,
  big: string,
  call: (id: string, turn: number) => Promise<unknown>,
): Promise<Cell> {
  const { ratio, parley, rival } = await inPairs(
    () => medianMs(TIMES, (turn) => call(big, turn)),
    () => medianMs(TIMES, (turn) => call(small, turn)),
  )
  return {
    name,
    figure: ratio,
    bar: { atMost: 1.3 },
    note: `${rival.median.toFixed(1)} ms → ${parley.median.toFixed(1)} ms`,
  }
}

async function joinOnce({ stack, token }: Solo, id: string): Promise<void> {
  const parley = createParley({ apiUrl: stack.apiUrl, gatewayUrls: stack.gatewayUrls, token })
  try {
    await parley.conversation(id).join({})
  } finally {
    await parley.close()
  }
}

async function byParticipants(solo: Solo): Promise<Cell> {
  const [few, many] = [await solo.conversation(), await solo.conversation()]
  const add = (id: string, from: number, to: number) =>
    Promise.all(
      Array.from({ length: to - from }, (_, i) =>
        solo.http.call(
          'POST',
          `/conversations/${id}/participants`,
          solo.token,
          { type: 'user', id: `member-${from + i}` },
          201,
        ),
      ),
    )
  await add(few, 0, 4)
  for (let from = 0; from < 999; from += 37) await add(many, from, Math.min(999, from + 37))
  return growth('create, 5 → 1,000 participants', few, many, (id, turn) => solo.send(id, `line ${turn}`))
}
