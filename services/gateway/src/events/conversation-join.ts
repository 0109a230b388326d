import { defineEvent } from './define-event.ts'

/** `conversation:join`: follow a conversation from where the caller left it; in effect once acknowledged. */
export const conversationJoin = defineEvent(
  'conversation:join',
  ({ roomAccess, presence }) =>
    (socket, payload, { reply }) => {
      roomAccess.assertSpace(socket, payload.conversationId)
      return roomAccess.join(socket, payload, () => presence.viewRoster(payload.conversationId), reply)
    },
  { cost: 2 },
)
