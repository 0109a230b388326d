import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { type Delivered, deliveryFaults, type Member, storageFaults } from '../support/member.ts'
import type { Bed } from './bed.ts'

export interface BystanderWork {
  conversationId: string
  /** Milliseconds between an acknowledgement and the next line. */
  restMs: number
  apiUrls: readonly string[]
  gatewayUrls: readonly string[]
  sender: { name: string; token: string }
  reader: { name: string; token: string }
}
/** Milliseconds from each send to its acknowledgement, and to the reader. */
export interface BystanderTimes {
  acks: number[]
  arrivals: number[]
}
export interface BystanderLogs {
  members: Pick<Member, 'name' | 'log' | 'faults'>[]
  acknowledged: Delivered[]
}

/**
 * Two people on two gateways who talk while a row makes trouble for others. In a thread of their own: what is measured
 * is the gateways' patience, not that of the thread that makes the trouble.
 */
export async function startBystanders(
  bed: Bed,
  conversationId: string,
  [sender, reader]: readonly [string, string],
  restMs = 20,
) {
  const work: BystanderWork = {
    conversationId,
    restMs,
    apiUrls: bed.apiUrls,
    gatewayUrls: bed.gatewayUrls,
    sender: { name: sender, token: bed.token(sender) },
    reader: { name: reader, token: bed.token(reader) },
  }
  const thread = new Worker(new URL('./bystanders-thread.ts', import.meta.url), {
    workerData: work,
    execArgv: ['--conditions=@parley/source'],
  })
  async function ask<T>(what: 'stop' | 'end'): Promise<T> {
    const answered = once(thread, 'message')
    thread.postMessage(what)
    const [answer] = await answered
    return answer
  }
  await once(thread, 'message')
  return {
    talk: () => thread.postMessage('talk'),
    stop: () => ask<BystanderTimes>('stop'),
    /** What their logs say against the promise, by all that is stored. */
    async faults(): Promise<string[]> {
      const { members, acknowledged } = await ask<BystanderLogs>('end')
      const stored = await bed.stored(conversationId, sender)
      return [
        ...storageFaults(stored, acknowledged),
        ...members.flatMap((member) => deliveryFaults(member, stored)),
      ]
    },
    close: () => thread.terminate(),
  }
}
