import { problem } from '@parley/contract'
import { defineEvent } from './define-event.ts'

/** `conversation:online`: who has a socket in the room, for anyone who may see the conversation. */
export const conversationOnline = defineEvent(
  'conversation:online',
  ({ api, presence, rooms }) =>
    async (socket, { conversationId }) => {
      if (!rooms.isIn(socket, conversationId)) {
        const { allowed } = await api.internal(
          '/internal/authorize',
          { conversationId, callers: [socket.data.caller] },
          { key: conversationId },
        )
        if (allowed[0] !== true) throw problem('not_found')
      }
      return presence.online(conversationId)
    },
)
