import { setTimeout as delay } from 'node:timers/promises'
import { type Conversation, type JoinResult, ProblemError, problem } from '@parley/contract'
import { changeFrame, newMessageFrame, payloadOf } from '../delivery/payloads.ts'
import type { RoomAccess } from '../delivery/room-access.ts'
import { ANSWER_TIMEOUT_MS } from '../delivery/timeouts.ts'
import type { Dispatch } from '../events/dispatch.ts'
import type { RosterView } from '../presence/rosters.ts'
import type { Core } from '../services.ts'
import type { ChatSocket } from '../sockets.ts'
import type { Expiry } from './expiry.ts'
import type { Frame } from './frames.ts'

const RETRY_MS = 500

/** Sets up an admitted socket: handles its events from now on, and cleans up after it. */
export function createAccept(
  core: Pick<Core, 'api' | 'people' | 'rooms' | 'lifecycle' | 'outbound' | 'logger'>,
  dependencies: {
    roomAccess: RoomAccess
    expiry: Expiry<ChatSocket>
    dispatch: Dispatch
    viewRoster(conversationId: string): Promise<RosterView>
    forget(socket: ChatSocket): void
  },
) {
  const { api, people, rooms, lifecycle, outbound, logger } = core
  const { roomAccess, expiry, dispatch, viewRoster, forget } = dependencies

  /** Finds or creates an agent's auto conversation, joins it and announces it; retried while the api is away. */
  async function welcomeAgent(socket: ChatSocket): Promise<void> {
    while (socket.connected) {
      try {
        const { caller } = socket.data
        const { conversation, active } = await api.internal(
          '/internal/agents/ready',
          { caller },
          { key: caller.id, timeoutMs: ANSWER_TIMEOUT_MS },
        )
        const conversationId = conversation.id
        const wasIn = rooms.isIn(socket, conversationId)
        // What happens between the two answers is told after the first. An agent that joined by itself hears it anyway.
        const from = wasIn ? {} : { afterSeq: conversation.lastSeq, afterChangeSeq: conversation.changeSeq }
        await roomAccess.join(
          socket,
          { conversationId, ...from },
          () => viewRoster(conversationId),
          (result) => {
            if (result.hasMore || rooms.isIn(socket, conversationId) !== wasIn) {
              throw problem('unavailable', { detail: 'The conversation changed while it was being joined' })
            }
            outbound.emit(socket, 'conversation:ready', { conversation, active })
            for (const frame of framesOf(conversation, result)) {
              outbound.write(socket, [frame], frame.wire, conversationId)
            }
          },
        )
        return
      } catch (error) {
        if (!(error instanceof ProblemError)) throw error
        // Closed or deleted in between: the next round creates another.
        if (!error.retryable && error.code !== 'not_found') {
          logger.warn({ err: error }, 'an agent got no conversation of its own')
          return
        }
        await delay(RETRY_MS * (0.5 + Math.random()))
      }
    }
  }

  return (socket: ChatSocket): void => {
    forget(socket)
    people.add(socket)
    expiry.watch(socket)
    socket.onAny((...args: unknown[]) => dispatch(socket, args))
    socket.on('disconnect', () => {
      expiry.stop(socket)
      for (const room of [...socket.data.session.rooms]) roomAccess.leave(socket, room)
      people.remove(socket)
      lifecycle.emit('disconnected', socket)
    })
    lifecycle.emit('connected', socket)
    if (socket.data.type === 'agent') void welcomeAgent(socket)
  }
}

/** What a join brings, as the events that a room gets; `from`: where they begin. */
function* framesOf(
  from: Pick<Conversation, 'id' | 'lastSeq'>,
  { messages, changes }: Pick<JoinResult, 'messages' | 'changes'>,
): Iterable<Frame> {
  let { lastSeq } = from
  for (const message of messages) {
    yield newMessageFrame(JSON.stringify(message), lastSeq)
    lastSeq = message.seq
  }
  for (const item of changes) {
    const payload = payloadOf(item)
    if (payload) yield changeFrame(from.id, item.changeSeq, payload)
  }
}
