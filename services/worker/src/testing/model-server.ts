import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface ModelRequest {
  authorization: string | undefined
  body: {
    model: string
    messages: { role: string; content: string }[]
    tools?: unknown
    max_tokens?: number
  }
}

export type Behaviour = (response: ServerResponse, request: ModelRequest) => void

/** A server that speaks the OpenAI protocol as well, or as badly, as a test wants it to. */
export async function startModelServer() {
  const requests: ModelRequest[] = []
  let behaviour: Behaviour = answers('Goal:\n- none')
  const server = createServer((request, response) => {
    void receive(request).then((body) => {
      const seen = { authorization: request.headers.authorization, body: JSON.parse(body) }
      requests.push(seen)
      behaviour(response, seen)
    })
  })
  const { promise, resolve } = Promise.withResolvers<void>()
  server.listen(0, '127.0.0.1', resolve)
  await promise
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}/v1`,
    requests,
    behave(next: Behaviour): void {
      behaviour = next
      requests.length = 0
    },
    async close(): Promise<void> {
      server.closeAllConnections()
      await new Promise((done) => server.close(done))
    },
  }
}

async function receive(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = []
  for await (const part of request) parts.push(part as Buffer)
  return Buffer.concat(parts).toString()
}

const completion = (content: string, usage: unknown) =>
  JSON.stringify({
    id: 'x',
    object: 'chat.completion',
    created: 0,
    model: 'small',
    choices: [{ index: 0, message: { role: 'assistant', content }, finish_reason: 'stop' }],
    usage,
  })

/** A proper answer. */
export const answers =
  (
    content: string,
    usage: unknown = { prompt_tokens: 120, completion_tokens: 30, total_tokens: 150 },
  ): Behaviour =>
  (response) => {
    response.writeHead(200, { 'content-type': 'application/json' }).end(completion(content, usage))
  }

export const fails =
  (status: number, headers: Record<string, string> = {}): Behaviour =>
  (response) => {
    response
      .writeHead(status, { 'content-type': 'application/json', ...headers })
      .end(JSON.stringify({ error: { message: 'no', type: 'error' } }))
  }

/** Each request gets the next behaviour; the last one stays. */
export function inTurn(...behaviours: Behaviour[]): Behaviour {
  let at = 0
  return (response, request) => behaviours[Math.min(at++, behaviours.length - 1)]?.(response, request)
}

/** Never answers. */
export const hangs: Behaviour = () => undefined

/** Begins an answer and then sends a blank now and then, forever. */
export const trickles: Behaviour = (response) => {
  response.writeHead(200, { 'content-type': 'application/json' })
  const timer = setInterval(() => response.write(' '), 20)
  response.on('close', () => clearInterval(timer))
}

/** Sends more than anybody should read. */
export const floods: Behaviour = (response) => {
  response.writeHead(200, { 'content-type': 'application/json' })
  const chunk = ' '.repeat(64 * 1024)
  const more = () => {
    while (!response.destroyed && response.write(chunk));
    response.once('drain', more)
  }
  more()
}
