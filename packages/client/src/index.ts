export type {
  Change,
  Conversation,
  ConversationContext,
  CreateConversation,
  JoinResult,
  Message,
  Online,
  Page,
  Participant,
  ParticipantRef,
  Presence,
  Problem,
  ProblemCode,
  StreamResult,
  UpdateConversation,
} from '@parley/contract'
export { type Agent, type AgentOptions, createAgent, type MessageHandler, type Turn } from './agent.ts'
export type { Answer, AnswerOptions } from './answer.ts'
export { createParley, type Parley, type ParleyEvents, type ParleyOptions } from './client.ts'
export type { ConnectionState } from './connection.ts'
export { isParleyError, type LocalCode, ParleyError } from './errors.ts'
export type {
  ChangesPage,
  ConversationFilter,
  MessageStatistics,
  SearchHit,
  SummaryResult,
} from './rest.ts'
export type { JoinOptions, Room, RoomEvents, RoomState } from './room.ts'
export type { TokenInput } from './tokens.ts'
export type {
  Draft,
  MessageInput,
  MessagePageOptions,
  PageOptions,
  SendOptions,
  StreamProgress,
} from './types.ts'
