import {
  type Caller,
  conversationOfChannel,
  LIMITS,
  type Message,
  ParticipantType,
  participantKey,
  roomChannel,
} from '@parley/contract'
import { z } from 'zod'
import type { Bus } from '../bus/bus.ts'
import type { Rooms } from '../delivery/rooms.ts'
import type { Lifecycle } from '../lifecycle.ts'

/** Milliseconds within which a typist is announced at most once per room. */
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
  /** Announced as typing, and not yet as having stopped. */
  typing: boolean
  /** When they were last announced as typing: milliseconds of the monotonic clock. */
  toldAt: number
  /** Runs as long as something was heard of them in the last 6 s. */
  expiry: NodeJS.Timeout
}

export type Typing = ReturnType<typeof createTyping>

/**
 * Who is typing: told at once, then at most once in 3 s per typist and room. Stopping is told at once, and also if
 * nothing was heard of the typist for 6 s. Best effort: nothing is kept, and slow readers go without.
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
  /** Those who were heard of again within their 3 s: told when these end. */
  const waiting = new Map<Typist, NodeJS.Timeout>()
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
    if (told.from !== gatewayId) emit(conversationOfChannel(channel), told)
  })

  function signal(caller: Caller, conversationId: string, isTyping: boolean): void {
    const name = nameOf(caller, conversationId)
    const known = typists.get(name)
    if (!isTyping) {
      if (known) rest(known)
      return
    }
    if (!known) {
      const expiry = setTimeout(() => {
        typists.delete(name)
        rest(typist)
      }, LIMITS.typingMs).unref()
      const typist: Typist = { caller, conversationId, typing: true, toldAt: 0, expiry }
      typists.set(name, typist)
      announce(typist)
      return
    }
    known.expiry.refresh()
    if (waiting.has(known)) return
    const waitMs = known.toldAt + REPEAT_MS - now()
    if (waitMs <= 0) announce(known)
    else waiting.set(known, setTimeout(announce, waitMs, known).unref())
  }

  function announce(typist: Typist): void {
    waiting.delete(typist)
    typist.toldAt = now()
    tell(typist, true)
  }

  function rest(typist: Typist): void {
    hush(typist)
    if (typist.typing) tell(typist, false)
  }

  /** They don't resume after all. */
  function hush(typist: Typist): void {
    clearTimeout(waiting.get(typist))
    waiting.delete(typist)
  }

  // Somebody who leaves stops typing; if another device of theirs goes on, it says so within 3 s.
  lifecycle.on('left', (socket, { conversationId }) => signal(socket.data.caller, conversationId, false))
  // So does somebody who has sent what they typed.
  lifecycle.on('message', ({ conversationId }, message) => {
    // Parsed only if somebody waits: every message passes through here.
    const here = [...waiting.keys()].filter((typist) => typist.conversationId === conversationId)
    if (here.length === 0) return
    const { participantType, participantId }: Message = JSON.parse(message)
    for (const typist of here) {
      if (typist.caller.type === participantType && typist.caller.id === participantId) hush(typist)
    }
  })

  return {
    signal,
    close(): void {
      for (const typist of typists.values()) {
        hush(typist)
        clearTimeout(typist.expiry)
      }
      typists.clear()
    },
  }
}
