import { connect, createServer, type Socket } from 'node:net'
import { freePort } from './ports.ts'

/**
 * - `open`: passes everything on.
 * - `cut`: resets every connection, also each new one.
 * - `stalled`: connections stay and new ones are accepted, but no byte passes.
 */
type Mode = 'open' | 'cut' | 'stalled'

export type FaultProxy = {
  port: number
  /** Connections that pass through it now. */
  readonly connections: number
  cut(): void
  stall(): void
  /**
   * Says "no more" (FIN) to one end of each present connection, as if the other had closed only its sending side; what
   * that end still sends is passed on. New connections are whole.
   */
  halfClose(towards?: 'client' | 'server'): void
  /**
   * As when the host behind the address dies and another takes it over: on present connections no byte passes any more,
   * and nobody is told; new ones are whole.
   */
  strand(): void
  /** Passes everything on again, also what was held back; half-closed and stranded connections are reset. */
  heal(): void
  close(): Promise<void>
}

type Link = { client: Socket; server: Socket; state: 'whole' | 'halfClosed' | 'stranded' }

/** A TCP proxy on 127.0.0.1 before `targetPort`, on `port` or a free one, that can be made to fail. */
export async function createProxy(targetPort: number, port?: number): Promise<FaultProxy> {
  const links = new Set<Link>()
  let mode: Mode = 'open'

  const listener = createServer({ allowHalfOpen: true }, (client) => {
    if (mode === 'cut') {
      client.on('error', ignore)
      client.resetAndDestroy()
      return
    }
    const server = connect({ port: targetPort, host: '127.0.0.1', allowHalfOpen: true })
    const link: Link = { client, server, state: 'whole' }
    links.add(link)
    for (const socket of [client, server]) {
      socket.setNoDelay(true)
      // A reset on one side is a reset on the other.
      socket.on('error', () => reset(link))
      socket.on('close', () => {
        if (client.destroyed && server.destroyed) links.delete(link)
      })
    }
    pass(link)
    if (mode === 'stalled') hold(link)
  })

  function pass(link: Link): void {
    const { client, server } = link
    client.on('data', (chunk) => forward(link, client, server, chunk))
    server.on('data', (chunk) => forward(link, server, client, chunk))
    client.on('end', () => server.end())
    server.on('end', () => client.end())
  }

  /** Reads on only when the other side took what it got: memory stays bounded, back-pressure is real. */
  function forward(link: Link, from: Socket, to: Socket, chunk: Buffer): void {
    if (!to.writable || to.write(chunk)) return
    from.pause()
    to.once('drain', () => {
      if (mode !== 'stalled' && link.state !== 'stranded') from.resume()
    })
  }

  function hold({ client, server }: Link): void {
    client.pause()
    server.pause()
  }

  function reset(link: Link): void {
    for (const socket of [link.client, link.server]) if (!socket.destroyed) socket.resetAndDestroy()
    links.delete(link)
  }

  const chosen = port ?? (await freePort())
  await new Promise<void>((resolve, reject) => {
    listener.once('error', reject)
    listener.listen(chosen, '127.0.0.1', resolve)
  })

  return {
    port: chosen,
    get connections() {
      return links.size
    },
    cut() {
      mode = 'cut'
      for (const link of links) reset(link)
    },
    stall() {
      mode = 'stalled'
      for (const link of links) hold(link)
    },
    halfClose(towards = 'client') {
      for (const link of links) {
        link.state = 'halfClosed'
        link[towards].end()
      }
    },
    strand() {
      for (const link of links) {
        link.state = 'stranded'
        hold(link)
      }
    },
    heal() {
      mode = 'open'
      for (const link of links) {
        if (link.state !== 'whole') reset(link)
        link.client.resume()
        link.server.resume()
      }
    },
    close() {
      for (const link of links) reset(link)
      return new Promise((resolve, reject) => {
        listener.close((error) => (error ? reject(error) : resolve()))
      })
    },
  }
}

/** The reset that follows was meant. */
function ignore(): void {}
