import { defineEvent } from './define-event.ts'

/** `message:cancel`: any participant may end a streamed answer; the text so far is kept as `cancelled`. */
export const messageCancel = defineEvent(
  'message:cancel',
  ({ streams }) =>
    async (socket, { conversationId, messageId }) => {
      await streams.cancel(socket, conversationId, messageId)
      return {}
    },
)
