import type { Problem } from '@parley/contract'
import { fromProblem, ParleyError, toParleyError } from './errors.ts'
import { toJson } from './json.ts'
import { abortedBy, anySignal, backoff, raceSignal, sleep } from './timing.ts'
import { RENEW_AGAIN_MS, RENEWALS, type TokenSource } from './tokens.ts'

/** What is undefined or null is left out. */
export type Query = Record<string, string | number | boolean | null | undefined>

export interface RequestOptions {
  query?: Query | undefined
  body?: unknown
  /**
   * Asking twice does no more than asking once, so a request that got no answer is sent again. Left out: GET, PUT
   * and DELETE are, POST is not.
   */
  repeatable?: boolean
  /** Tries in all, for what may be tried again. Default 5. */
  attempts?: number
  /** Milliseconds for one try. Default 15,000. */
  timeoutMs?: number
  signal?: AbortSignal | undefined
}

/** One try; `body` as it goes out. */
interface Try {
  method: string
  body: string | undefined
  timeoutMs: number | undefined
  signal: AbortSignal | undefined
}

export interface Http {
  request<T>(method: string, path: string, options?: RequestOptions): Promise<T>
}

/** `fetch` with the token, the contract's errors, and tries again where that is safe. Throws ParleyError. */
export function createHttp(urls: readonly string[], tokens: TokenSource, closed: AbortSignal): Http {
  let preferred = 0

  async function once(
    url: string,
    token: string,
    { method, body, timeoutMs, signal }: Try,
  ): Promise<unknown> {
    const timeout = AbortSignal.timeout(timeoutMs ?? 15_000)
    const headers: Record<string, string> = { authorization: `Bearer ${token}`, accept: 'application/json' }
    const init: RequestInit = { method, headers, signal: anySignal(signal, timeout) ?? timeout }
    if (body !== undefined) {
      headers['content-type'] = 'application/json'
      init.body = body
    }
    let response: Response
    let text: string
    try {
      response = await fetch(url, init)
      text = await response.text()
    } catch (error) {
      if (signal?.aborted) throw abortedBy(signal)
      if (timeout.aborted) throw new ParleyError('timeout', `No answer to ${method} ${url}`, { cause: error })
      throw new ParleyError('network', `${method} ${url} failed`, { cause: error })
    }
    if (response.ok) return text === '' ? undefined : parseJson(text, url)
    throw answeredError(response, text, url)
  }

  async function attempt(path: string, what: Try): Promise<unknown> {
    const base = urls[preferred % urls.length]
    const token = await raceSignal(tokens.get(), what.signal)
    try {
      return await once(`${base}${path}`, token, what)
    } catch (thrown) {
      const error = toParleyError(thrown)
      const away = error.code === 'network' || error.code === 'timeout' || error.status === 503
      // Of several calls that fail together one turns to the next.
      if (away && base === urls[preferred % urls.length]) preferred += 1
      throw error
    }
  }

  async function request(method: string, path: string, options: RequestOptions = {}): Promise<unknown> {
    const signal = anySignal(options.signal, closed)
    // Now: the caller may change it while this waits.
    const body = options.body === undefined ? undefined : toJson(options.body)
    const what: Try = { method, body, signal, timeoutMs: options.timeoutMs }
    const url = `${path}${queryString(options.query)}`
    const repeatable = options.repeatable ?? method !== 'POST'
    const attempts = options.attempts ?? 5
    let renewals = 0
    /** An earlier try may have been carried out. */
    let unsure = false
    for (let failures = 0; ; ) {
      try {
        return await attempt(url, what)
      } catch (thrown) {
        const error = toParleyError(thrown)
        if (error.status === 401 && tokens.renewable && renewals < RENEWALS) {
          renewals += 1
          tokens.drop()
          if (renewals > 1) await sleep(RENEW_AGAIN_MS, signal)
          continue
        }
        // It is gone, as was asked.
        if (method === 'DELETE' && unsure && error.code === 'not_found') return undefined
        failures += 1
        // 429 means that nothing was done yet, whatever was asked.
        const again = error.status === 429 || (error.retryable && repeatable)
        if (!again || failures >= attempts) throw error
        unsure ||= error.status !== 429
        await sleep(backoff(failures, error.retryAfterMs), signal)
      }
    }
  }

  return {
    request: <T>(method: string, path: string, options?: RequestOptions) =>
      request(method, path, options) as Promise<T>,
  }
}

function queryString(query: Query | undefined): string {
  const parameters = new URLSearchParams()
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== undefined && value !== null) parameters.set(name, String(value))
  }
  const text = parameters.toString()
  return text === '' ? '' : `?${text}`
}

function parseJson(text: string, url: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new ParleyError('network', `${url} answered something that is not JSON`, { cause: error })
  }
}

function answeredError(response: Response, text: string, url: string): ParleyError {
  const seconds = Number(response.headers.get('retry-after'))
  const retryAfterMs = Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : undefined
  if (response.headers.get('content-type')?.includes('application/problem+json')) {
    return fromProblem(parseJson(text, url) as Problem, retryAfterMs)
  }
  // From a balancer in between, not Parley.
  const busy = response.status === 429 || response.status >= 500
  return new ParleyError(busy ? 'network' : 'bad_request', `${url} answered ${response.status}`, {
    status: response.status,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  })
}
