import { isAdmin, ProblemError, participantKey } from '@parley/contract'
import type { Core } from '../services.ts'
import type { ChatSocket } from '../sockets.ts'
import type { Notices } from './notices.ts'
import type { Room } from './room.ts'
import type { RoomAccess } from './room-access.ts'
import { ANSWER_TIMEOUT_MS } from './timeouts.ts'

const BATCH_SIZE = 1_000
const RETRY_MS = 500

/** Keeps a room's sockets and its list of participants up to date. */
export function createMembership(
  { api, lifecycle, logger }: Pick<Core, 'api' | 'lifecycle' | 'logger'>,
  { notices, roomAccess }: { notices: Pick<Notices, 'removed'>; roomAccess(): RoomAccess },
) {
  /** Rooms being checked; true: to be checked again, since something happened meanwhile. */
  const checking = new Map<Room, boolean>()
  let closed = false

  /** Asks again which of the room's sockets may be there, and who the participants are. */
  async function check(room: Room): Promise<void> {
    const { conversationId } = room
    const sockets = [...room.sockets]
    // Once also for a room without sockets: a join under way relies on its list of participants.
    for (let at = 0; at === 0 || at < sockets.length; at += BATCH_SIZE) {
      const some = sockets.slice(at, at + BATCH_SIZE)
      // Addresses of pictures may be long: those of a thousand people are more than the api takes in one request.
      const callers = some.map(({ data }) => ({ ...data.caller, name: null, picture: null }))
      const { exists, allowed, members } = await api.internal(
        '/internal/authorize',
        { conversationId, callers, members: at === 0 },
        { key: conversationId, timeoutMs: ANSWER_TIMEOUT_MS },
      )
      if (!exists) {
        roomAccess().endRoom(conversationId)
        return
      }
      // Something happened since the question: the next check decides.
      if (!room.isOpen || checking.get(room) === true) return
      if (members) setParticipants(room, new Set(members.map(participantKey)))
      some.forEach((socket, index) => {
        if (allowed[index] !== true && room.sockets.has(socket)) roomAccess().expel(socket, room, 'removed')
      })
    }
  }

  function setParticipants(room: Room, now: ReadonlySet<string>): void {
    const gone = [...room.participants].filter((key) => !now.has(key))
    const come = [...now].filter((key) => !room.participants.has(key))
    for (const key of gone) {
      remove(room, key)
      room.dismissed.add(key)
      notices.removed(room.orgId, room.conversationId, key)
      lifecycle.emit('expelled', room.conversationId, key)
    }
    for (const key of come) add(room, key)
    if (gone.length + come.length > 0) lifecycle.emit('participantsChanged', room)
  }

  function add(room: Room, key: string): void {
    room.participants.add(key)
    room.dismissed.delete(key)
    // A read position heard earlier is from before they left.
    room.readPositions.delete(key)
  }

  function remove(room: Room, key: string): boolean {
    room.readPositions.delete(key)
    return room.participants.delete(key)
  }

  async function recheck(room: Room): Promise<void> {
    // Joins under way may have been answered before it happened.
    roomAccess().restartJoins(room)
    if (!room.isOpen || closed) return
    if (checking.has(room)) {
      checking.set(room, true)
      return
    }
    checking.set(room, false)
    let failed = false
    try {
      await check(room)
    } catch (error) {
      if (!(error instanceof ProblemError)) throw error
      failed = true
      logger.debug({ conversation: room.conversationId, err: error }, 'participants not checked')
    } finally {
      const again = checking.get(room) === true
      checking.delete(room)
      if (room.isOpen && (again || failed)) {
        setTimeout(() => void recheck(room), failed ? RETRY_MS : 0)
      }
    }
  }

  /** A check that is under way may have read the earlier state. */
  function checkAgain(room: Room): void {
    if (checking.has(room)) checking.set(room, true)
  }

  return {
    recheck: (room: Room): void => void recheck(room),
    added(room: Room, key: string): void {
      checkAgain(room)
      if (!room.isOpen || room.participants.has(key)) return
      add(room, key)
      lifecycle.emit('participantsChanged', room)
    },
    /** Takes their sockets out of the room at once, except an admin's: the api decides whether those stay. */
    removed(room: Room, key: string, sockets: Iterable<ChatSocket>): void {
      checkAgain(room)
      if (remove(room, key)) lifecycle.emit('participantsChanged', room)
      for (const socket of [...sockets]) {
        if (!room.sockets.has(socket)) continue
        if (isAdmin(socket.data.caller)) void recheck(room)
        else roomAccess().expel(socket, room, 'removed')
      }
    },
    close(): void {
      closed = true
    },
  }
}
