import { defineEvent } from './define-event.ts'

/** `message:cancel`: whoever takes part ends a streamed answer; what was there is kept as `cancelled`. */
export const messageCancel = defineEvent(
  'message:cancel',
  ({ streams }) =>
    async (socket, { conversationId, messageId }) => {
      await streams.cancel(socket, conversationId, messageId)
      return {}
    },
)
