import { setTimeout as delay } from 'node:timers/promises'
import {
  type InternalStreamFinish,
  type InternalStreamFinishResult,
  problem,
  roomChannel,
  type StreamResult,
} from '@parley/contract'
import type { ApiClient, Logger } from '@parley/service-kit'
import { busMessage } from '../bus/bus.ts'
import type { Outbound } from '../connection/outbound.ts'
import type { ChatSocket } from '../sockets.ts'
import type { Beat } from './beat.ts'
import { encodePiece, type StreamPiece } from './piece.ts'
import type { Ownership, StreamStore } from './store.ts'
import { createStreamText } from './text.ts'

export const STREAM_TIMES = {
  /** Milliseconds in which deltas are gathered. */
  coalesceMs: 40,
  /** Milliseconds between the beats at which all streams here pass on what they have. */
  beatMs: 10,
  /** Milliseconds between checkpoints in MongoDB: the sign of life that the api's sweeper looks for. */
  checkpointMs: 2_000,
  /** Milliseconds until the next try to add to a text that is held. */
  heldMs: 50,
  /** Milliseconds after which a text is held anew while the api is asked to end it. */
  holdAgainMs: 2_000,
  /** Milliseconds for an agent that was cut off to come back. */
  orphanMs: 10_000,
}

export interface OwnerDependencies {
  api: ApiClient
  store: StreamStore
  beat: Beat
  outbound: Outbound
  logger: Logger
  times: typeof STREAM_TIMES
  /** Passes a piece on to the sockets here while Redis can't. */
  deliver(conversationId: string, piece: StreamPiece): void
  /** It goes on elsewhere, on another gateway or another connection; this one's agent may still be writing here. */
  onTaken(messageId: string, writer: ChatSocket): void
  /** It is no longer this gateway's: ended, or released. */
  onOver(owner: StreamOwner): void
}

export interface StreamIdentity {
  conversationId: string
  messageId: string
  seq: number
  orgId: string
  /** Participant key of the agent. */
  author: string
  /** The same for each start of it. */
  name: string
}

const elsewhere = () => problem('conflict', { detail: 'The stream continues on another connection' })

export type StreamOwner = ReturnType<typeof createStreamOwner>

/** One streamed answer, on the gateway that its agent talks to. */
export function createStreamOwner(
  identity: StreamIdentity,
  start: { text: string; token: string; claimed: boolean; socket: ChatSocket; stored: boolean },
  { api, store, beat, outbound, logger, times, deliver, onTaken, onOver }: OwnerDependencies,
) {
  const { conversationId, messageId, seq } = identity
  const text = createStreamText(start.text)
  const channel = roomChannel(conversationId)
  let { token } = start
  /** Redis knows the token. */
  let { claimed } = start
  let socket: ChatSocket | null = start.socket
  /** The connection that it is, or was last, on. */
  let agent = start.socket
  /** Redis has less than the text: it was away, or lost it. */
  let behind = !start.stored
  let ending = false
  /** `released`: to whoever continues it, another gateway or the api's sweeper. */
  let over: false | 'ended' | 'released' = false
  let flushing: Promise<void> | undefined
  let flushedAt = Number.NEGATIVE_INFINITY
  let orphanTimer: NodeJS.Timeout | undefined
  let checkpointing: Promise<void> | undefined

  function stop(why: 'ended' | 'released'): void {
    if (over) return
    over = why
    beat.remove(flushInBackground)
    clearTimeout(orphanTimer)
    clearInterval(checkpoints)
    if (why === 'released' && socket) onTaken(messageId, socket)
    onOver(owner)
  }

  const flushInBackground = () => void flush()
  function schedule(): void {
    if (!over && !flushing && text.hasMore) beat.add(flushInBackground, flushedAt + times.coalesceMs)
  }

  /** Passes on what was gathered; only one piece of a stream is under way at a time, which keeps them in order. */
  async function flush(): Promise<void> {
    while (flushing) await flushing
    const taken = text.take()
    if (!taken || over) return
    flushedAt = performance.now()
    flushing = pass({ messageId, seq, ...taken })
      .catch((error: unknown) =>
        logger.error({ err: error, messageId }, 'a piece of a stream was not passed on'),
      )
      .finally(() => {
        flushing = undefined
        schedule()
      })
    await flushing
  }

  async function pass(piece: StreamPiece): Promise<void> {
    const message = busMessage('stream', encodePiece(piece))
    async function write(): Promise<Ownership> {
      const restored = behind ? await restore() : 'owned'
      return restored === 'owned'
        ? asOwner((by) => store.append(messageId, by, piece, channel, message))
        : restored
    }
    try {
      for (;;) {
        const owned = await write()
        if (owned === 'held' && !ending) {
          // Somebody is about to end it. If that comes to nothing, it goes on.
          await delay(times.heldMs)
          continue
        }
        // Held for its own end, which tells all of it. If that comes to nothing, this is written with the next piece.
        behind ||= owned === 'held' || owned === 'lost'
        if (owned !== 'lost') return
      }
    } catch (error) {
      logger.debug(
        { err: error, messageId },
        'Redis is away: a piece goes to the sockets of this gateway alone',
      )
      behind = true
      deliver(conversationId, piece)
    }
  }

  /**
   * Asks Redis with the owner's token. `taken`, `ended`: another gateway owns the stream, or has ended it, and this one
   * stops. If a resume has replaced the token meanwhile, a refusal of the old one says nothing, and the new one is
   * tried. A claim that failed because Redis was away is made first, but only while the agent is here: otherwise
   * another gateway may own the stream. Rejects while Redis is away.
   */
  async function asOwner(ask: (by: string) => Promise<Ownership>): Promise<Ownership> {
    for (;;) {
      const by = token
      if (!claimed && socket) {
        await store.claim(conversationId, messageId, seq, by)
        claimed = by === token
      }
      const owned = await ask(by)
      if ((owned === 'taken' || owned === 'ended') && by !== token) continue
      if (owned === 'taken') stop('released')
      if (owned === 'ended') onEndedElsewhere()
      return owned
    }
  }

  /** Writes all of its text again. */
  async function restore(): Promise<Ownership> {
    const owned = await asOwner((by) => store.restore(conversationId, messageId, seq, by, text.whole))
    if (owned === 'owned') behind = false
    return owned
  }

  async function ownership(): Promise<Ownership> {
    const owned = await asOwner((by) => store.touch(messageId, by))
    if (owned === 'lost') behind = true
    return owned
  }

  /** Finds out whether it was taken over, and writes again what Redis lost; both wait while Redis is away. */
  async function confirm(): Promise<void> {
    try {
      await ownership()
      if (behind && !over) await restore()
    } catch (error) {
      behind = true
      logger.debug({ err: error, messageId }, 'Redis is away: the text of a stream is written again later')
    }
  }

  /** One at a time; the one under way may lack the newest text. */
  async function checkpoint(): Promise<void> {
    while (checkpointing) await checkpointing
    if (ending || over) return
    checkpointing = save().finally(() => {
      checkpointing = undefined
    })
    await checkpointing
  }

  async function save(): Promise<void> {
    try {
      await confirm()
      if (over || ending) return
      const { live } = await api.internal(
        '/internal/streams/checkpoint',
        { caller: agent.data.caller, conversationId, messageId, content: text.whole },
        { key: conversationId },
      )
      if (!live) onEndedElsewhere()
    } catch (error) {
      logger.debug({ err: error, messageId }, 'a checkpoint was skipped')
    }
  }
  /** Not while its agent is cut off: a checkpoint is a sign of life, and the api's sweeper would wait longer. */
  const checkpoints = setInterval(() => {
    if (socket && !checkpointing) void checkpoint()
  }, times.checkpointMs)

  /**
   * Somebody else ended it: the agent is told to stop, unless it is just ending it itself: then the api's answer says
   * how.
   */
  function onEndedElsewhere(): void {
    if (ending || over) return
    stop('ended')
    tellAgent()
    // The api may have ended it, which leaves the text to its owner.
    void store.close(conversationId, messageId)
  }
  function tellAgent(): void {
    if (socket) outbound.emit(socket, 'message:cancel', { conversationId, messageId })
  }

  async function finish(
    status: 'sent' | 'failed',
    result: StreamResult,
    caller: ChatSocket['data']['caller'] | null,
    condition: Pick<InternalStreamFinish, 'silentMs'> = {},
  ): Promise<InternalStreamFinishResult> {
    if (ending) throw problem('conflict', { detail: 'The stream is being ended' })
    ending = true
    try {
      await flush()
      while (flushing) await flushing
      if (over === 'released') throw elsewhere()
      const answer = await api.internal(
        '/internal/streams/finish',
        {
          conversationId,
          messageId,
          status,
          result: { ...result, content: result.content ?? text.whole },
          caller,
          ...condition,
        },
        { key: conversationId },
      )
      if (!answer.won && answer.message.status === 'streaming') throw elsewhere()
      stop('ended')
      await store.close(conversationId, messageId)
      return answer
    } finally {
      ending = false
    }
  }

  /** Ends it as failed, unless the agent comes back meanwhile, here or, as `condition` asks, elsewhere. */
  async function abandon(condition?: Pick<InternalStreamFinish, 'silentMs'>): Promise<void> {
    const by = agent
    try {
      // Another gateway may have it by now; where nobody can say, the api's sweeper decides.
      const owned = await ownership()
      if (owned === 'taken' || owned === 'ended' || agent !== by) return
      await finish('failed', {}, null, condition)
    } catch (error) {
      logger.debug({ err: error, messageId }, 'an abandoned stream is not ended here')
      if (agent === by) stop('released')
    }
  }

  const owner = {
    ...identity,
    /** The offset where the agent continues. */
    get length(): number {
      return text.length
    },
    ownedBy: (other: ChatSocket): boolean => socket === other,

    /** The agent continues, perhaps on another connection. `stored`: the text that Redis had. */
    resume(by: { socket: ChatSocket; token: string; claimed: boolean; stored: string }): void {
      clearTimeout(orphanTimer)
      if (socket && socket !== by.socket) onTaken(messageId, socket)
      socket = by.socket
      agent = by.socket
      token = by.token
      claimed = by.claimed
      if (by.stored.length < text.whole.length) behind = true
    },

    /** @throws ProblemError as StreamText.append, conflict (ending) */
    append(index: number, delta: string): void {
      if (over === 'released') throw elsewhere()
      if (ending || over) throw problem('conflict', { detail: 'The stream has ended' })
      text.append(index, delta)
      schedule()
    },

    /** Resolves once the message is stored in its final state, whoever ended it. */
    finish,

    /** Its connection is gone. */
    onAgentGone(by: ChatSocket): void {
      if (socket !== by || over) return
      socket = null
      void checkpoint()
      // Its last sign of life from here is as old as that; Redis may not know that another gateway gives some.
      const silentMs = Math.floor(times.orphanMs / 2)
      orphanTimer = setTimeout(() => void abandon({ silentMs }), times.orphanMs)
    },

    onEndedElsewhere,

    /** Redis may have begun with an older file: the text is written again with the next piece or checkpoint. */
    onReconnected(): void {
      behind = true
    },

    /** Its text; null if another gateway continues it. */
    async read(): Promise<string | null> {
      await confirm()
      return over === 'released' ? null : text.whole
    },

    /** Another gateway, or a newer start here, continues it. */
    drop: () => stop('released'),

    /** Ends it because its agent may no longer write there. */
    async failForLostAccess(): Promise<void> {
      await abandon()
      tellAgent()
    },

    /** Leaves it as it is, to whoever takes it over. */
    async leave(): Promise<void> {
      await flush()
      // That of an agent that is just gone is the last.
      while (checkpointing) await checkpointing
      if (socket) await checkpoint()
      stop('released')
    },
  }
  return owner
}
