import { CLIENT_EVENTS } from '@parley/contract'
import { defineEvent } from './define-event.ts'

const { payload } = CLIENT_EVENTS['conversation:leave']

/** `conversation:leave`: no more of this conversation; nothing happens to who was not in it. */
export const conversationLeave = defineEvent(
  'conversation:leave',
  payload,
  ({ follow, rooms }) =>
    (socket, { conversationId }) => {
      const room = rooms.get(conversationId)
      if (room) follow.leave(socket, room)
      return {}
    },
)
