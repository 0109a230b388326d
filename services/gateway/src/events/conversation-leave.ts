import { defineEvent } from './define-event.ts'

/** `conversation:leave`: no more of this conversation; nothing happens to who was not in it. */
export const conversationLeave = defineEvent(
  'conversation:leave',
  ({ roomAccess, rooms }) =>
    (socket, { conversationId }) => {
      const room = rooms.get(conversationId)
      if (room) roomAccess.leave(socket, room)
      return {}
    },
)
