import type { Services } from '../services.ts'
import { authRefresh } from './auth-refresh.ts'
import { conversationJoin } from './conversation-join.ts'
import { conversationLeave } from './conversation-leave.ts'
import type { ClientEventHandler } from './define-event.ts'
import { messageSend } from './message-send.ts'

/** Every event that clients may send. */
export const clientEvents: ((services: Services) => ClientEventHandler)[] = [
  conversationJoin,
  conversationLeave,
  messageSend,
  authRefresh,
]
