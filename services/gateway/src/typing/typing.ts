import { type Caller, LIMITS, ParticipantType, participantKey, roomChannel } from '@parley/contract'
import { z } from 'zod'
import type { Bus } from '../bus/bus.ts'
import { conversationOf } from '../bus/room-channels.ts'
import type { Rooms } from '../delivery/rooms.ts'
import type { Lifecycle } from '../lifecycle.ts'

/** Milliseconds within which one typist is told of at most once per room. */
const REPEAT_MS = 3_000

const Told = z.object({
  from: z.string(),
  type: ParticipantType,
  id: z.string(),
  isTyping: z.boolean(),
})
type Told = z.infer<typeof Told>

interface Typist {
  caller: Caller
  conversationId: string
  /** Told to be typing, and not yet told to have stopped. */
  typing: boolean
  /** Milliseconds of the monotonic clock. */
  toldAt: number
  timer: NodeJS.Timeout
}

export type Typing = ReturnType<typeof createTyping>

/**
 * Who is typing: told at once, then at most once in 3 s per typist and room, and ended by itself for whoever heard it
 * after 6 s. Best effort: nothing is kept, and slow readers go without.
 */
export function createTyping({
  bus,
  rooms,
  lifecycle,
  gatewayId,
  now = () => performance.now(),
}: {
  bus: Pick<Bus, 'handle' | 'publish'>
  rooms: Pick<Rooms, 'emit'>
  lifecycle: Lifecycle
  gatewayId: string
  now?: () => number
}) {
  const typists = new Map<string, Typist>()
  const nameOf = (caller: Caller, conversationId: string) => `${conversationId} ${participantKey(caller)}`

  function emit(conversationId: string, { type, id, isTyping }: Told): void {
    const key = participantKey({ type, id })
    rooms.emit(
      conversationId,
      'user:typing',
      { conversationId, participantType: type, participantId: id, userId: id, isTyping },
      { volatile: true, except: (socket) => socket.data.key === key },
    )
  }

  function tell(typist: Typist, isTyping: boolean): void {
    const { caller, conversationId } = typist
    const told: Told = { from: gatewayId, type: caller.type, id: caller.id, isTyping }
    typist.typing = isTyping
    emit(conversationId, told)
    void bus.publish(roomChannel(conversationId), 'typing', JSON.stringify(told))
  }

  bus.handle('typing', (channel, payload) => {
    const told = Told.parse(JSON.parse(payload))
    if (told.from !== gatewayId) emit(conversationOf(channel), told)
  })

  function signal(caller: Caller, conversationId: string, isTyping: boolean): void {
    const name = nameOf(caller, conversationId)
    const known = typists.get(name)
    if (!isTyping) {
      if (known?.typing) tell(known, false)
      return
    }
    if (known && now() - known.toldAt < REPEAT_MS) return
    if (known) clearTimeout(known.timer)
    const timer = setTimeout(() => typists.delete(name), LIMITS.typingMs)
    timer.unref()
    const typist: Typist = { caller, conversationId, typing: true, toldAt: now(), timer }
    typists.set(name, typist)
    tell(typist, true)
  }

  // Who leaves does not type on; another device of theirs that does says so within 3 s.
  lifecycle.on('left', (socket, { conversationId }) => signal(socket.data.caller, conversationId, false))

  return {
    signal,
    close(): void {
      for (const { timer } of typists.values()) clearTimeout(timer)
      typists.clear()
    },
  }
}
