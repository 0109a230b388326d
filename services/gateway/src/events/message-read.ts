import { Message, problem, ReadResult } from '@parley/contract'
import { z } from 'zod'
import { defineEvent } from './define-event.ts'

const Read = z.object(ReadResult.shape)
const WhereItStands = z.object({ conversationId: Message.shape.conversationId, seq: Message.shape.seq })

/** `message:read`: moves the caller's read position, forward only; a message's id stands for its seq. */
export const messageRead = defineEvent(
  'message:read',
  ({ api }) =>
    async (socket, payload, { requestId }) => {
      const { conversationId } = payload
      const { token } = socket.data.session
      const options = { key: conversationId, requestId }
      let seq: number
      if ('seq' in payload) seq = payload.seq
      else {
        const { body } = await api.asCaller(
          'GET',
          `/messages/${payload.messageId}`,
          token,
          undefined,
          options,
        )
        const message = WhereItStands.parse(body)
        if (message.conversationId !== conversationId) throw problem('not_found')
        seq = message.seq
      }
      // Positions only rise, so repeating the call changes nothing.
      const path = `/conversations/${conversationId}/read`
      const { body } = await api.asCaller('POST', path, token, { seq }, { ...options, repeatable: true })
      return Read.parse(body)
    },
)
