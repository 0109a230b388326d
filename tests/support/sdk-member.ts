import { createParley, isParleyError, type Parley, type Room } from '@parley/client'
import type { Delivered, Member, MemberOptions } from './member.ts'
import { rotated } from './rotated.ts'
import { until } from './until.ts'

/** A member on the SDK, as an application would use it: what it hands over is the log. */
export function createSdkMember(options: MemberOptions): Member {
  const { name, conversationId, apiUrls, gatewayUrls, token } = options
  const log: Delivered[] = []
  const deleted = new Set<string>()
  const faults: string[] = []
  let turn = 0
  let held = 0
  let closed = false
  let client: Parley | null = null
  let room: Room | null = null

  async function open(): Promise<void> {
    const opened = createParley({ apiUrl: apiUrls, gatewayUrls: rotated(gatewayUrls, turn++), token })
    const entered = opened.conversation(conversationId)
    client = opened
    room = entered
    entered.on('message:new', ({ id, seq, clientMessageId, deletedAt }) => {
      if (room !== entered) return
      if (entered.state === 'out') faults.push(`${seq} after leaving`)
      log.push({ id, seq, clientMessageId })
      if (deletedAt) deleted.add(id)
      held = seq
    })
    entered.on('message:deleted', ({ id, seq, content }) => {
      if (!log.some((message) => message.id === id)) faults.push(`${seq} deleted before it came`)
      if (content !== '') faults.push(`${seq} deleted, with its content`)
      deleted.add(id)
    })
    while (room === entered && !closed) {
      try {
        await entered.join({ afterSeq: held })
        return
      } catch (error) {
        if (!isParleyError(error)) throw error
        if (closed || room !== entered) return
        if (!error.retryable) faults.push(`join refused: ${error.code}`)
      }
    }
  }

  async function sendOn(content: string, clientMessageId: string): Promise<Delivered> {
    for (;;) {
      const used = await until(() => room, { timeoutMs: 60_000, what: `${name} is back` })
      try {
        return await used.send({ content, clientMessageId })
      } catch (error) {
        // Only `vanish` takes the client away under a send; the next one goes on with the same key.
        if (closed || used === room || !isParleyError(error) || error.code !== 'closed') throw error
      }
    }
  }

  return {
    name,
    conversationId,
    log,
    deleted,
    faults,
    resyncs: 0,
    get connected() {
      return client?.state === 'connected' && room?.state === 'live'
    },
    async join() {
      if (room) await room.join()
      else await open()
    },
    async leave() {
      // Where the connection is lost, the server has let it go already.
      await room?.leave().catch((error: unknown) => {
        if (!isParleyError(error) || !error.retryable) throw error
      })
    },
    async send(content, clientMessageId) {
      const begun = performance.now()
      const { id, seq } = await sendOn(content, clientMessageId)
      return { id, seq, clientMessageId, tookMs: performance.now() - begun }
    },
    vanish(ms) {
      client?.close()
      room = null
      setTimeout(() => {
        if (!closed) open().catch((error: unknown) => faults.push(`return failed: ${error}`))
      }, ms)
    },
    online: async () => (await room?.online())?.users ?? [],
    close() {
      closed = true
      client?.close()
    },
  }
}
