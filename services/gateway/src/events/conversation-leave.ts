import { defineEvent } from './define-event.ts'

/** `conversation:leave`: stop following a conversation; no effect on a socket that does not follow it. */
export const conversationLeave = defineEvent(
  'conversation:leave',
  ({ roomAccess, rooms }) =>
    (socket, { conversationId }) => {
      const room = rooms.get(conversationId)
      if (room) roomAccess.leave(socket, room)
      return {}
    },
)
