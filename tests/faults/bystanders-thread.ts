import { setTimeout as delay } from 'node:timers/promises'
import { parentPort, workerData } from 'node:worker_threads'
import { createBareMember } from '../support/bare-member.ts'

export interface BystanderWork {
  conversationId: string
  apiUrls: string[]
  gatewayUrls: string[]
  sender: { name: string; token: string }
  reader: { name: string; token: string }
}
export interface BystanderReport {
  /** Milliseconds from send to acknowledgement. */
  times: number[]
  faults: string[]
}

/** Two people who talk on while others storm; a worker thread, told `talk` and `stop`. */
const { sender, reader, ...common } = workerData as BystanderWork
const a = createBareMember({ ...common, ...sender })
const b = createBareMember({ ...common, ...reader, gatewayUrls: [...common.gatewayUrls].reverse() })
let talking = false
let round = 0

async function talk(): Promise<BystanderReport> {
  const times: number[] = []
  const mark = ++round
  for (let n = 0; talking; n++) {
    const { tookMs } = await a.send(`During the storm ${n}`, `${sender.name}-${mark}-${n}`)
    times.push(tookMs)
    await delay(20)
  }
  return { times, faults: [...a.faults, ...b.faults] }
}

parentPort?.on('message', (what: 'talk' | 'stop') => {
  talking = what === 'talk'
  if (talking) void talk().then((report) => parentPort?.postMessage(report))
})
await Promise.all([a.join(), b.join()])
parentPort?.postMessage('ready')
