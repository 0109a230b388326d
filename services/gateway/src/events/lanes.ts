import type { Session } from '../connection/session.ts'
import { isDelta } from './costs.ts'

/** The id in a field of the payload, if there is one. */
function idIn(payload: unknown, field: 'conversationId' | 'messageId'): string | undefined {
  const id: unknown =
    typeof payload === 'object' && payload !== null ? Reflect.get(payload, field) : undefined
  return typeof id === 'string' ? id : undefined
}

/**
 * What an event waits for, and what waits for it: events of one conversation are handled in the order they came.
 * Letters of a streamed answer go by their message alone: they are told at once, and a message on its way to the
 * store would hold them up. The answer's end goes by both: after its letters, and before what is sent behind it. Of
 * an answer that is not open here nobody knows the conversation. New tokens go by themselves: the last one stays.
 */
export function lanesOf(
  event: string,
  payload: unknown,
  conversationOf: (messageId: string) => string | undefined,
): string[] {
  if (event === 'auth:refresh') return [event]
  const conversationId = idIn(payload, 'conversationId')
  if (conversationId !== undefined) return [conversationId]
  const messageId = idIn(payload, 'messageId')
  if (messageId === undefined) return []
  const conversation = isDelta(payload) ? undefined : conversationOf(messageId)
  return conversation === undefined ? [messageId] : [messageId, conversation]
}

/** Runs an event of this weight (bytes) behind those that are in its lanes. `run` must not reject. */
export function enter(
  session: Session,
  keys: readonly string[],
  weight: number,
  run: () => Promise<void>,
): void {
  session.pending++
  session.pendingBytes += weight
  session.lanes ??= new Map()
  const { lanes } = session
  const before = keys.flatMap((key) => lanes.get(key) ?? [])
  const begun = before.length === 0 ? run() : Promise.all(before).then(run)
  const running = begun.finally(() => {
    session.pending--
    session.pendingBytes -= weight
    for (const key of keys) if (lanes.get(key) === running) lanes.delete(key)
    if (lanes.size === 0 && session.lanes === lanes) session.lanes = null
  })
  for (const key of keys) lanes.set(key, running)
}
