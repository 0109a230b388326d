import { io, type ManagerOptions, type Socket } from 'socket.io-client'

export interface OpenOptions extends Partial<ManagerOptions> {
  namespace?: string
  /** Adds listeners that must not miss what comes right behind the handshake. */
  prepare?(socket: Socket): void
}

/** A connected bare socket that stays gone when it is gone. Rejects with the reason of a refusal. */
export async function openSocket(
  url: string,
  token: string,
  { namespace = '/chat', prepare, ...options }: OpenOptions = {},
): Promise<Socket> {
  const socket = io(`${url}${namespace}`, {
    transports: ['websocket'],
    auth: { token },
    forceNew: true,
    reconnection: false,
    timeout: 20_000,
    ...options,
  })
  prepare?.(socket)
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve)
    socket.once('connect_error', reject)
    // A gateway that goes in the middle of the handshake is no `connect_error`.
    socket.once('disconnect', (reason) => reject(new Error(reason)))
  })
  return socket
}

/** Joins a room; rejects with the code where that is refused. */
export async function joinRoom(socket: Socket, conversationId: string): Promise<{ lastSeq: number }> {
  const answer = await socket.timeout(20_000).emitWithAck('conversation:join', { conversationId })
  if (!answer.ok) throw new Error(`join refused: ${answer.error.code}`)
  return answer
}
