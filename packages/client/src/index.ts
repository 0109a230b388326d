export type {
  AuditEntry,
  Change,
  ChangesPage,
  Conversation,
  ConversationContext,
  ConversationStatus,
  CreateConversation,
  JoinResult,
  Me,
  Message,
  MessageRole,
  MessageStatistics,
  Online,
  Page,
  Participant,
  ParticipantRef,
  ParticipantRole,
  ParticipantType,
  Presence,
  Problem,
  ProblemCode,
  ReadResult,
  Receipt,
  RoomConversation,
  SearchHit,
  StreamResult,
  UpdateConversation,
} from '@parley/contract'
export {
  type Agent,
  type AgentEvents,
  type AgentOptions,
  createAgent,
} from './agent.ts'
export type { Answer, AnswerOptions } from './answer.ts'
export { createParley, type Parley, type ParleyEvents, type ParleyOptions } from './client.ts'
export type { ConnectionState } from './connection.ts'
export type { Off } from './emitter.ts'
export { isParleyError, type LocalCode, ParleyError } from './errors.ts'
export type { ConversationFilter, SummaryResult } from './rest.ts'
export type { JoinOptions, Room, RoomEvents, RoomState } from './room.ts'
export type { TokenInput } from './tokens.ts'
export type { MessageHandler, Turn } from './turns.ts'
export type {
  CallOptions,
  Draft,
  MessageInput,
  MessagePageOptions,
  PageOptions,
  SendOptions,
  StreamProgress,
} from './types.ts'
