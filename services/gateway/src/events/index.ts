import type { Services } from '../services.ts'
import { authRefresh } from './auth-refresh.ts'
import { conversationJoin } from './conversation-join.ts'
import { conversationLeave } from './conversation-leave.ts'
import { conversationOnline } from './conversation-online.ts'
import type { ClientEventHandler } from './define-event.ts'
import { messageCancel } from './message-cancel.ts'
import { messageRead } from './message-read.ts'
import { messageSend } from './message-send.ts'
import { messageStream } from './message-stream.ts'
import { messageTyping } from './message-typing.ts'

/** Every event that clients may send. */
export const clientEvents: ((services: Services) => ClientEventHandler)[] = [
  conversationJoin,
  conversationLeave,
  conversationOnline,
  messageSend,
  messageTyping,
  messageRead,
  messageStream,
  messageCancel,
  authRefresh,
]
