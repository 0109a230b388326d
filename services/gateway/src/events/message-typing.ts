import { problem } from '@parley/contract'
import { defineEvent } from './define-event.ts'

/** `message:typing`: tells the others in the room; leading edge, at most once in 3 s per typist. */
export const messageTyping = defineEvent(
  'message:typing',
  ({ typing, rooms }) =>
    (socket, { conversationId, isTyping }) => {
      const room = rooms.assertJoined(socket, conversationId)
      if (!room.participants.has(socket.data.key)) {
        throw problem('forbidden', { detail: 'Only participants can be shown as typing' })
      }
      typing.signal(socket.data.caller, conversationId, isTyping)
      return {}
    },
  { cost: 0.5 },
)
