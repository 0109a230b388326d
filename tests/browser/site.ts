import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { build, defaultClientConditions, type Rolldown } from 'vite'

/** The page's script with the SDK in it, bundled as a product would bundle it. */
export async function bundle(): Promise<string> {
  const entry = join(import.meta.dirname, 'page.ts')
  const result = await build({
    configFile: false,
    logLevel: 'silent',
    resolve: { conditions: ['@parley/source', ...defaultClientConditions] },
    build: { write: false, modulePreload: false, rolldownOptions: { input: entry } },
  })
  const [{ output }] = [result].flat() as [Rolldown.RolldownOutput]
  const [chunk, ...others] = output
  if (others.length > 0)
    throw new Error(`the bundle has more files: ${others.map(({ fileName }) => fileName)}`)
  return chunk.code
}

/** Serves the page on an origin of its own, under a name that only the browser of these tests knows. */
export async function serveSite(
  host: `${string}.example`,
  script: string,
): Promise<{ origin: string; close(): Promise<void> }> {
  const server = createServer((request, response) => {
    if (request.url === '/page.js') {
      response.setHeader('content-type', 'text/javascript').end(script)
      return
    }
    response.setHeader('content-type', 'text/html')
    response.end('<!doctype html><title>Chat</title><script type="module" src="/page.js"></script>')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    origin: `http://${host}:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
