import type { Message } from '@parley/contract'
import { defineEvent } from './define-event.ts'

/**
 * `message:send`: stored by the api under the sender's own token; acknowledged once it is on a majority. The next
 * send of this socket to the conversation waits for it.
 */
export const messageSend = defineEvent(
  'message:send',
  ({ api, outbound }) =>
    async (socket, payload, { requestId, reply }) => {
      const { body: message } = await api.asCaller<Message>(
        'POST',
        '/messages',
        socket.data.session.token,
        payload,
        { key: payload.conversationId, requestId },
      )
      const result = reply({ message })
      outbound.emit(socket, 'message:sent', { clientMessageId: message.clientMessageId, message })
      return result
    },
)
