import type {
  Caller,
  ClientToServerEvents,
  OrgRole,
  ParticipantType,
  ServerToClientEvents,
} from '@parley/contract'
import type { Namespace, Server, Socket } from 'socket.io'
import type { Session } from './connection/session.ts'

export interface SocketData {
  /** The user's or agent's id. */
  userId: string
  type: ParticipantType
  roles: OrgRole[]
  orgId: string
  caller: Caller
  /** The caller within the org: `user:ada`. */
  key: string
  session: Session
}

export type ChatServer = Server<ClientToServerEvents, ServerToClientEvents, Record<string, never>, SocketData>
export type ChatNamespace = Namespace<
  ClientToServerEvents,
  ServerToClientEvents,
  Record<string, never>,
  SocketData
>
export type ChatSocket = Socket<ClientToServerEvents, ServerToClientEvents, Record<string, never>, SocketData>

declare module 'fastify' {
  interface FastifyInstance {
    io: ChatServer
  }
}
