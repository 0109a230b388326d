import { defineEvent, fieldOf } from './define-event.ts'

/** Twenty deltas take as much of a socket's allowance as one event. */
const DELTA_COST = 0.05

/** `message:stream`: an agent's answer as it is produced; see streaming/. */
export const messageStream = defineEvent(
  'message:stream',
  ({ streams }) =>
    async (socket, payload) => {
      switch (payload.op) {
        case 'start':
          return streams.start(socket, payload)
        case 'delta':
          streams.delta(socket, payload)
          return {}
        case 'end':
          return streams.end(socket, payload)
        case 'abort':
          return streams.abort(socket, payload)
      }
    },
  {
    cost: (payload) => (fieldOf(payload, 'op') === 'delta' ? DELTA_COST : 1),
    /**
     * Deltas queue by their message alone, so that a slow send does not delay them; `end` and `abort` queue by both,
     * after their deltas and before later sends. If the answer is not open here, its conversation is not known.
     */
    lanes(payload, { streams }) {
      if (payload.op === 'start') return [payload.conversationId]
      const { messageId } = payload
      const conversationId = payload.op === 'delta' ? undefined : streams.conversationOf(messageId)
      return conversationId === undefined ? [messageId] : [messageId, conversationId]
    },
  },
)
