import { participantKey, type Receipt } from '@parley/contract'
import type { Frame } from '../connection/frames.ts'
import type { Outbound } from '../connection/outbound.ts'
import type { ChatSocket } from '../sockets.ts'
import type { Position } from './sequencer.ts'

/** The number of the event in a frame, if it has one. */
export interface Mark {
  seq?: number
  change?: number
}

/** Numbers up to which a socket knows everything. */
export type Watermark = Pick<Position, 'seq' | 'change'>

export interface EmitOptions {
  /** Sockets that don't get it. */
  except?: (socket: ChatSocket) => boolean
  /** Left out for those that read slowly. */
  volatile?: boolean
}

export type Room = ReturnType<typeof createRoom>

/** A conversation with at least one socket here, or one about to be. */
export function createRoom(options: {
  conversationId: string
  outbound: Outbound
  /** Called when frames wait for `flush`. */
  onDirty(room: Room): void
}) {
  const { conversationId, outbound, onDirty } = options
  const sockets = new Set<ChatSocket>()
  /** Sockets whose acknowledgement reached further than the room has: nothing up to there is sent to them again. */
  const ahead = new Map<ChatSocket, Watermark>()
  const waiting: { after: number; run: () => void }[] = []
  let queue: { frame: Frame; mark: Mark }[] = []
  let position: Readonly<Position> = { seq: 0, stored: 0, change: 0 }
  let isOpen = false
  let orgId = ''
  const participants = new Set<string>()
  const dismissed = new Set<string>()
  const readPositions = new Map<string, number>()

  const isNew = ({ seq, change }: Mark, floor: Watermark): boolean =>
    (seq === undefined || seq > floor.seq) && (change === undefined || change > floor.change)

  function flush(): void {
    if (queue.length === 0) return
    const items = queue
    queue = []
    const frames = items.map(({ frame }) => frame)
    const wire = join(frames)
    for (const socket of sockets) {
      const floor = ahead.size > 0 ? ahead.get(socket) : undefined
      if (floor === undefined) {
        outbound.write(socket, frames, wire, conversationId)
        continue
      }
      const fresh = items.filter(({ mark }) => isNew(mark, floor)).map(({ frame }) => frame)
      if (fresh.length > 0) outbound.write(socket, fresh, join(fresh), conversationId)
    }
    for (const [socket, floor] of ahead) {
      if (position.seq >= floor.seq && position.change >= floor.change) ahead.delete(socket)
    }
  }

  const room = {
    conversationId,
    /** From the first socket let in until it closes; before that neither its org nor its participants are known. */
    get isOpen(): boolean {
      return isOpen
    },
    /** The org it belongs to; empty before it is open. */
    get orgId(): string {
      return orgId
    },
    /** Keys of the participants (`user:ada`); none before it is open. */
    participants,
    /** Former participants told of their removal by a recheck: the event, when it arrives, does not tell them again. */
    dismissed,
    /**
     * How far they have read, by participant key, as the room was told or its first join showed; before that, as was
     * heard.
     */
    readPositions,
    /** Whether it is further than was known. */
    raiseRead({ participantType: type, participantId: id, readSeq }: Receipt): boolean {
      const key = participantKey({ type, id })
      if (readSeq <= (readPositions.get(key) ?? 0)) return false
      readPositions.set(key, readSeq)
      return true
    },
    open(by: { orgId: string; participants: Iterable<string> }): void {
      isOpen = true
      orgId = by.orgId
      for (const key of by.participants) participants.add(key)
    },
    close(): void {
      isOpen = false
    },
    sockets: sockets as ReadonlySet<ChatSocket>,
    /** Where the room stands: everything up to here was sent or is void. */
    get position(): Readonly<Position> {
      return position
    },
    setPosition(to: Readonly<Position>): void {
      position = { ...to }
      while (waiting.length > 0 && (waiting[0]?.after ?? 0) <= position.seq) waiting.shift()?.run()
    },
    /** Runs once the message with this seq was sent: now or later; never if the room closes before. */
    afterMessage(seq: number, run: () => void): void {
      if (seq <= position.seq) {
        run()
        return
      }
      waiting.push({ after: seq, run })
      waiting.sort((a, b) => a.after - b.after)
    },
    /** Sends to all here, in the order of the calls, with one write per socket and tick. */
    send(frame: Frame, mark: Mark = {}): void {
      queue.push({ frame, mark })
      if (queue.length === 1) onDirty(room)
    },
    /** Sends at once, to some or what slow readers may go without. */
    sendSome(frame: Frame, { except, volatile = false }: EmitOptions): void {
      flush()
      for (const socket of sockets) {
        if (except?.(socket)) continue
        outbound.write(socket, [frame], frame.wire, conversationId, volatile)
      }
    },
    flush,
    /** `from`: where its acknowledgement ended. What was sent before is first flushed to those already there. */
    add(socket: ChatSocket, from: Watermark): void {
      flush()
      sockets.add(socket)
      socket.data.session.rooms.add(room)
      const { seq, change } = ahead.get(socket) ?? position
      const floor = { seq: Math.max(from.seq, seq), change: Math.max(from.change, change) }
      if (floor.seq > position.seq || floor.change > position.change) ahead.set(socket, floor)
    },
    remove(socket: ChatSocket): boolean {
      flush()
      ahead.delete(socket)
      socket.data.session.rooms.delete(room)
      return sockets.delete(socket)
    },
  }
  return room
}

const join = (frames: readonly Frame[]): Buffer =>
  frames.length === 1 && frames[0] ? frames[0].wire : Buffer.concat(frames.map(({ wire }) => wire))
