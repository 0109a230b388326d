import { Pool } from 'undici'

/** Something that is asked for over and over. */
export type Work = (worker: number, turn: number) => Promise<void>

export interface Load {
  perSecond: number
  /** Milliseconds from request to answer, one for each. */
  latencies: number[]
}

/** `workers` at once, each starting the next when the last is answered, for `ms` milliseconds. */
export async function closedLoop(workers: number, ms: number, work: Work): Promise<Load> {
  const latencies: number[] = []
  const started = performance.now()
  const end = started + ms
  await Promise.all(
    Array.from({ length: workers }, async (_, worker) => {
      for (let turn = 0; performance.now() < end; turn++) {
        const asked = performance.now()
        await work(worker, turn)
        latencies.push(performance.now() - asked)
      }
    }),
  )
  return { perSecond: (latencies.length * 1_000) / (performance.now() - started), latencies }
}

/** JSON over keep-alive connections, as a busy client keeps them; an answer other than `expected` ends the run. */
export function createHttpClient(url: string, connections: number) {
  const pool = new Pool(url, { connections, pipelining: 1, bodyTimeout: 30_000, headersTimeout: 30_000 })
  return {
    async call(
      method: 'GET' | 'POST',
      path: string,
      token: string,
      body: unknown,
      expected: number,
    ): Promise<string> {
      const response = await pool.request({
        method,
        path,
        headers: {
          authorization: `Bearer ${token}`,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      })
      const text = await response.body.text()
      if (response.statusCode !== expected) {
        throw new Error(`${method} ${path} answered ${response.statusCode}: ${text.slice(0, 300)}`)
      }
      return text
    },
    close: () => pool.close(),
  }
}
export type HttpClient = ReturnType<typeof createHttpClient>
