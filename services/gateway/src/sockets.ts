import type {
  Caller,
  ClientToServerEvents,
  OrgRole,
  ParticipantType,
  ServerToClientEvents,
} from '@parley/contract'
import type { Namespace, Server, Socket } from 'socket.io'
import type { Session } from './connection/session.ts'

/** What gateways tell each other over the Redis adapter; see control/bus.ts. */
export interface InterServerEvents {
  control: (channel: string, payload: unknown) => void
}

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

export type ChatServer = Server<ClientToServerEvents, ServerToClientEvents, InterServerEvents, SocketData>
export type ChatNamespace = Namespace<
  ClientToServerEvents,
  ServerToClientEvents,
  InterServerEvents,
  SocketData
>
export type ChatSocket = Socket<ClientToServerEvents, ServerToClientEvents, InterServerEvents, SocketData>

declare module 'fastify' {
  interface FastifyInstance {
    io: ChatServer
  }
}
