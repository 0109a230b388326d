import { defineEvent } from './define-event.ts'

/** `conversation:join`: follow a conversation from where the caller left it; in effect as it is acknowledged. */
export const conversationJoin = defineEvent(
  'conversation:join',
  ({ follow, presence }) =>
    (socket, payload, { reply }) => {
      follow.assertSpace(socket, payload.conversationId)
      return follow.join(socket, payload, () => presence.viewRoster(payload.conversationId), reply)
    },
  { cost: 2 },
)
