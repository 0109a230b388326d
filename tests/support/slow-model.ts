import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

/** A language model as far as the protocol goes: answers after `delayMs` (and up to as long again), and counts. */
export async function startSlowModel(delayMs: number) {
  let calls = 0
  const server = createServer((request, response) => {
    request.resume()
    request.on('end', () => {
      calls++
      const content = `Goal:\n- get on\n\nKey facts:\n- answer ${calls}`
      const answer = {
        id: `${calls}`,
        object: 'chat.completion',
        created: 0,
        model: 'slow',
        choices: [{ index: 0, message: { role: 'assistant', content }, finish_reason: 'stop' }],
        usage: { prompt_tokens: 100, completion_tokens: 10, total_tokens: 110 },
      }
      setTimeout(
        () => response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer)),
        delayMs * (1 + Math.random()),
      )
    })
  })
  const { promise, resolve } = Promise.withResolvers<void>()
  server.listen(0, '127.0.0.1', resolve)
  await promise
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    calls: (): number => calls,
    async close(): Promise<void> {
      server.closeAllConnections()
      await new Promise((done) => server.close(done))
    },
  }
}
