import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Socket } from 'node:net'
import type { MongoClient } from 'mongodb'

/** Where Node tells of each socket that this process opens. */
const CHANNEL = 'net.client.socket'

/**
 * Makes operations fail whose connection closes while they are being written.
 *
 * The driver (7.9.0) waits for `drain` where a write was not taken at once, and a socket that has closed without an
 * error never drains: no time limit ends that wait, and the operation never settles. Once seen, a conversation took no
 * more messages. So a socket to MongoDB that has closed says `drain`, upon which the driver finds it closed, and takes
 * no further write.
 *
 * Call it before `connect()`. Returns what ends it.
 */
export function failWritesToClosedSockets(client: MongoClient): () => void {
  const ports = new Set<number>()
  client.on('serverOpening', ({ address }) => ports.add(Number(address.slice(address.lastIndexOf(':') + 1))))

  function onSocket(message: unknown): void {
    const { socket } = message as { socket: Socket }
    socket.once('connect', () => {
      if (!ports.has(socket.remotePort ?? 0)) return
      socket.once('close', () => {
        socket.write = refuse
        socket.emit('drain')
      })
    })
  }

  subscribe(CHANNEL, onSocket)
  return () => void unsubscribe(CHANNEL, onSocket)
}

function refuse(): never {
  throw new Error('The socket has closed')
}
