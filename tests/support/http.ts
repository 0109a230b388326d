import { setTimeout as delay } from 'node:timers/promises'

export interface Answer<T = unknown> {
  status: number
  headers: Headers
  body: T
}

export class HttpFailure extends Error {
  readonly status: number
  readonly body: unknown

  constructor(what: string, status: number, body: unknown) {
    super(`${what}: ${status} ${JSON.stringify(body)?.slice(0, 400)}`)
    this.status = status
    this.body = body
  }
}

const WORTH_A_RETRY = new Set([429, 502, 503, 504])

export type Http = ReturnType<typeof createHttp>

/** Plain HTTP calls as one caller, to any of `urls`, which are tried in turn where it makes sense. */
export function createHttp(urls: readonly string[], token?: string) {
  let turn = 0

  async function once<T>(method: string, path: string, body?: unknown, headers: Record<string, string> = {}) {
    const response = await fetch(`${urls[turn % urls.length]}${path}`, {
      method,
      headers: {
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      signal: AbortSignal.timeout(15_000),
    })
    const text = await response.text()
    const parsed: unknown = text === '' ? null : JSON.parse(text)
    return { status: response.status, headers: response.headers, body: parsed as T }
  }

  /**
   * Repeats the call while nothing answers or the answer is worth a retry (429, 502–504), up to `forMs`.
   * Throws HttpFailure for any answer of 400 and more. Only for calls that may be repeated.
   */
  async function sure<T>(method: string, path: string, body?: unknown, forMs = 30_000): Promise<T> {
    const deadline = performance.now() + forMs
    for (let pause = 20; ; pause = Math.min(500, pause * 2)) {
      let failure: unknown
      try {
        const answer = await once<T>(method, path, body)
        if (answer.status < 400) return answer.body
        failure = new HttpFailure(`${method} ${path}`, answer.status, answer.body)
      } catch (error) {
        // No answer, or half of one: as good as a 503.
        failure = error
      }
      if (failure instanceof HttpFailure && !WORTH_A_RETRY.has(failure.status)) throw failure
      if (performance.now() > deadline) throw failure
      turn += 1
      await delay(pause)
    }
  }

  return { once, sure }
}
