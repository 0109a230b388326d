import { setTimeout as delay } from 'node:timers/promises'
import { parentPort, workerData } from 'node:worker_threads'
import { createBareMember } from '../support/bare-member.ts'
import type { Delivered } from '../support/member.ts'
import { comesTrue } from '../support/until.ts'
import type { BystanderLogs, BystanderTimes, BystanderWork } from './bystanders.ts'

/** Milliseconds within which the reader has what was acknowledged. */
const SETTLE_MS = 15_000

/**
 * The thread of {@link startBystanders}: it is told `talk`, `stop` (which it answers with times) and `end` (with logs).
 */
const { sender, reader, gatewayUrls, restMs, ...common } = workerData as BystanderWork
const sentAt = new Map<string | null, number>()
const acknowledged: Delivered[] = []
let arrivals: number[] = []
const a = createBareMember({ ...common, ...sender, gatewayUrls })
const b = createBareMember({
  ...common,
  ...reader,
  gatewayUrls: gatewayUrls.toReversed(),
  heard({ clientMessageId }) {
    const sent = sentAt.get(clientMessageId)
    if (sent !== undefined) arrivals.push(performance.now() - sent)
  },
})
let talking = false

async function talk(): Promise<BystanderTimes> {
  const acks: number[] = []
  arrivals = []
  while (talking) {
    const key = `${sender.name}-${acknowledged.length}`
    sentAt.set(key, performance.now())
    const { tookMs, ...sent } = await a.send(`In the middle of it, ${key}`, key)
    acks.push(tookMs)
    acknowledged.push(sent)
    await delay(restMs)
  }
  const last = acknowledged.at(-1)?.seq ?? 0
  await comesTrue(() => (b.log.at(-1)?.seq ?? 0) >= last, SETTLE_MS)
  return { acks, arrivals }
}

const post = (message: unknown) => parentPort?.postMessage(message)
const logOf = ({ name, log, faults }: typeof a): BystanderLogs['members'][number] => ({ name, log, faults })

let round: Promise<BystanderTimes> | undefined
parentPort?.on('message', (what: 'talk' | 'stop' | 'end') => {
  talking = what === 'talk'
  if (what === 'talk') round = talk()
  else if (what === 'stop') void round?.then(post)
  else post({ members: [logOf(a), logOf(b)], acknowledged } satisfies BystanderLogs)
})
await Promise.all([a.join(), b.join()])
post('ready')
