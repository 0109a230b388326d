import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Socket } from 'node:net'
import type { MongoClient } from 'mongodb'

/** The channel on which Node reports each socket that this process opens. */
const CHANNEL = 'net.client.socket'

/**
 * Fails operations whose connection closes while they are being written.
 *
 * The driver (7.9.0) waits for `drain` if a write was not taken at once, and a socket that has closed without an error
 * never drains: no time limit ends that wait, and the operation never settles. Seen once: a conversation took no more
 * messages. So a closed socket to MongoDB emits `drain`, upon which the driver finds it closed, and refuses further
 * writes.
 *
 * Call it before `connect()`. Returns a function that undoes it.
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
