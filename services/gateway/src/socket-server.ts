import { CHAT_NAMESPACE, LIMITS } from '@parley/contract'
import type { HttpServer, Logger } from '@parley/service-kit'
import fastifySocketIo from 'fastify-socket.io'
import type { Redis } from 'ioredis'
import { GuardedWebSockets, guard } from './connection/guard.ts'
import { parser } from './connection/parser.ts'
import { createControlAdapter } from './control/adapter.ts'
import type { ChatNamespace, ChatServer } from './sockets.ts'

/** Socket.IO on the HTTP server, and the one namespace that it has. */
export async function openSockets(
  app: HttpServer,
  {
    publisher,
    subscriber,
    logger,
    isAllowedOrigin,
  }: { publisher: Redis; subscriber: Redis; logger: Logger; isAllowedOrigin(origin: string): boolean },
): Promise<{ io: ChatServer; namespace: ChatNamespace }> {
  await app.register(fastifySocketIo.default, {
    adapter: createControlAdapter({ publisher, subscriber, logger }),
    cors: {
      origin: (origin, done) => done(null, origin !== undefined && isAllowedOrigin(origin)),
      credentials: true,
    },
    maxHttpBufferSize: LIMITS.requestBytes,
    perMessageDeflate: false,
    httpCompression: false,
    serveClient: false,
    connectTimeout: 10_000,
    parser,
    wsEngine: GuardedWebSockets,
    preClose: (done) => done(),
  })
  const io: ChatServer = app.io
  guard(io)
  const namespace: ChatNamespace = io.of(CHAT_NAMESPACE)
  // Nothing exists outside the namespace, and nobody may wait there without a token.
  io.use((_socket, next) => next(new Error('Invalid namespace')))
  return { io, namespace }
}
