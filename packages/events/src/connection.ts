import net from 'node:net'
import tls from 'node:tls'
import { createReader, createSplitter, encodeCommand } from './resp.ts'

/** Most milliseconds for which a command may make Redis wait before it answers. */
export const MAX_BLOCK_MS = 1_000
/** Milliseconds without a byte after which a connection counts as dead. */
const STALL_TIMEOUT_MS = MAX_BLOCK_MS + 2_000
const READ_BYTES = 64 * 1_024
const ERROR = '-'.charCodeAt(0)

/** A failure of Redis, as opposed to a fault in the code that handles events. */
export class ConnectionError extends Error {}

export type Command = readonly (string | number)[]
export type TailConnection = ReturnType<typeof connectTail>

/**
 * A connection to Redis with one request at a time. It is never used again once broken: one that reconnects by itself
 * would repeat its pending read on another Redis, past the check.
 *
 * Made by hand, because every gateway reads every event of the whole system: a client for all of Redis spends two
 * thirds of that time on parsing what most gateways don't want (docs/decisions/0010).
 */
export function connectTail(url: string, { name }: { name: string }) {
  const { protocol, hostname, port, username, password, pathname } = new URL(url)
  const host = hostname.replace(/^\[|\]$/g, '')
  const split = createSplitter(onReply)
  const address = {
    host,
    port: Number(port || 6379),
    // Input is copied out of one buffer; Node would allocate one of this size for every read.
    onread: {
      buffer: Buffer.allocUnsafe(READ_BYTES),
      callback(bytes: number, buffer: Uint8Array) {
        split(Buffer.from(buffer.subarray(0, bytes)))
        return true
      },
    },
  }
  const socket =
    protocol === 'rediss:'
      ? tls.connect({ ...address, ...(net.isIP(host) ? {} : { servername: host }) })
      : net.connect(address)
  let waiting: { replies: number; settle(reply: Buffer | ConnectionError): void } | null = null
  let ended: ConnectionError | null = null

  function end(message: string, cause?: unknown): void {
    if (ended) return
    ended = new ConnectionError(message, { cause })
    waiting?.settle(ended)
    socket.destroy()
  }

  function onReply(reply: Buffer): void {
    if (!waiting) end('an answer that nobody asked for')
    else if (--waiting.replies === 0) waiting.settle(reply)
  }

  socket.setNoDelay(true)
  socket.setTimeout(STALL_TIMEOUT_MS, () => end('no answer in time'))
  socket.on('error', (error) => end('the connection failed', error))
  socket.on('close', () => end('the connection was lost'))

  /**
   * Sends commands together; resolves to the last one's answer, as bytes. Rejects only with a {@link ConnectionError}:
   * if Redis refuses the last one, or nothing comes for two seconds longer than it may wait.
   */
  function ask(commands: readonly Command[]): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      if (ended || waiting) {
        reject(ended ?? new ConnectionError('one thing at a time'))
        return
      }
      waiting = {
        replies: commands.length,
        settle(reply) {
          waiting = null
          if (reply instanceof ConnectionError) reject(reply)
          else if (reply[0] !== ERROR) resolve(reply)
          else reject(new ConnectionError('Redis refused', { cause: createReader(reply).value() }))
        },
      }
      socket.write(commands.map(encodeCommand).join(''))
    })
  }

  async function greet(): Promise<void> {
    const user = decodeURIComponent(username)
    const secret = decodeURIComponent(password)
    const database = pathname.slice(1)
    if (secret !== '') await ask([user === '' ? ['AUTH', secret] : ['AUTH', user, secret]])
    if (database !== '') await ask([['SELECT', database]])
    await ask([['CLIENT', 'SETNAME', name]])
  }
  const greeted = greet()
  // Rejections reach those who wait for it, if anybody does.
  greeted.catch(() => undefined)

  return {
    /** Resolves when it may be used; rejects with a {@link ConnectionError}. */
    ready: (): Promise<void> => greeted,
    ask,
    close: (): void => end('closed'),
  }
}
