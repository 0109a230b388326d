import { createHash } from 'node:crypto'
import { signServiceToken } from '@parley/auth'
import {
  type InternalBody,
  type InternalPath,
  type InternalResult,
  PROBLEM_CODES,
  type ProblemCode,
  ProblemError,
  problem,
} from '@parley/contract'
import { LRUCache } from 'lru-cache'
import { Pool } from 'undici'
import { z } from 'zod'

export interface CallOptions {
  /** The conversation's id: its calls prefer one api process, where its sends form batches. */
  key?: string
  /** Milliseconds to the head of an answer, and between pieces of its body, at each attempt; default 10,000. */
  timeoutMs?: number
  /** Whether the call may be repeated elsewhere once it may have arrived. Default: as its method and body allow. */
  repeatable?: boolean
}

export interface CallerOptions extends CallOptions {
  requestId?: string
}

export interface ApiClient {
  /** A call between services, under a service token; such calls can be repeated without a second effect. */
  internal<P extends InternalPath>(
    path: P,
    body: InternalBody<P>,
    options?: CallOptions,
  ): Promise<InternalResult<P>>
  /** A call on a caller's behalf, with their own token. */
  asCaller<T>(
    method: 'GET' | 'POST',
    path: string,
    token: string,
    body?: unknown,
    options?: CallerOptions,
  ): Promise<{ status: number; body: T }>
  /** False while no api process is known that answers. */
  reachable(): boolean
  close(): Promise<void>
}

export interface ApiClientOptions {
  urls: string[]
  serviceSecret: string
  userAgent: string
  /** Connections to each api process; default 128. */
  connections?: number
  /** Milliseconds after which a process that gave no answer is probed again; default 1,000. */
  probeMs?: number
}

/** Most keys whose order of processes is remembered. */
const MAX_KEYS = 20_000
const TIMEOUT_MS = 10_000
const PROBE_TIMEOUT_MS = 2_000
/** A process that answers probes and fails calls is left alone for up to this many times `probeMs`. */
const MAX_BACKOFF = 8
/** Errors after which the request has certainly not arrived. */
const NOT_SENT = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
])

interface Target {
  url: string
  pool: Pool
  /** It gave no answer, and is asked last until it answers a call or a probe: the timer of the next probe. */
  resting: NodeJS.Timeout | null
  /** How often it was left alone since its last answer. */
  failures: number
}

const ProblemBody = z.object({
  code: z.enum(PROBLEM_CODES),
  detail: z.string().optional(),
  errors: z.array(z.strictObject({ pointer: z.string(), detail: z.string() })).optional(),
})

const errorCode = (error: unknown): string =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : ''

/** Statuses of a process that can't answer, or of a proxy in its place. */
const isAway = (status: number): boolean => status >= 502 && status <= 504

/** Rendezvous hashing: each key ranks the urls in its own order, and a url that goes moves only its own keys. */
function weight(url: string, key: string): number {
  return createHash('md5').update(url).update('\0').update(key).digest().readUInt32LE(0)
}

function problemOf(status: number, text: string, retryAfter: string | undefined): ProblemError {
  let body: unknown
  try {
    body = JSON.parse(text)
  } catch {
    body = undefined // an answer from something between us and the api
  }
  const { data } = ProblemBody.safeParse(body)
  const code: ProblemCode = data?.code ?? (status >= 500 ? 'unavailable' : 'bad_request')
  const seconds = Number(retryAfter)
  return problem(code, {
    ...(data?.detail === undefined ? {} : { detail: data.detail }),
    ...(data?.errors === undefined ? {} : { errors: data.errors }),
    ...(retryAfter !== undefined && Number.isFinite(seconds) ? { retryAfter: seconds } : {}),
  })
}

/**
 * Calls to the api processes. One that gives no answer in time, or a 502, 503 or 504, is asked last until it is there
 * again; the call turns to the next process, where repeating it is harmless. Then the error is the api's own problem,
 * or `unavailable`.
 */
export function createApiClient(options: ApiClientOptions): ApiClient {
  const { serviceSecret, userAgent, connections = 128, probeMs = 1_000 } = options
  const targets = options.urls.map(
    (url): Target => ({
      url,
      pool: new Pool(url, { connections, connect: { timeout: 2_000 }, keepAliveTimeout: 30_000 }),
      resting: null,
      failures: 0,
    }),
  )
  let closed = false
  const rankings = new LRUCache<string, Target[]>({ max: MAX_KEYS })
  let serviceToken = { token: '', until: 0 }
  let turn = 0

  function authorization(): string {
    const now = Date.now()
    if (now > serviceToken.until) {
      serviceToken = {
        token: `Bearer ${signServiceToken(serviceSecret, userAgent)}`,
        until: now + 60_000,
      }
    }
    return serviceToken.token
  }

  function ranked(key: string | undefined): Target[] {
    if (targets.length === 1) return targets
    let order: Target[] | undefined
    if (key === undefined) {
      turn = (turn + 1) % targets.length
      order = [...targets.slice(turn), ...targets.slice(0, turn)]
    } else {
      order = rankings.get(key)
      if (!order) {
        order = [...targets].sort((a, b) => weight(b.url, key) - weight(a.url, key))
        rankings.set(key, order)
      }
    }
    const ready = order.filter(({ resting }) => !resting)
    return ready.length === order.length ? order : [...ready, ...order.filter(({ resting }) => resting)]
  }

  function wake(target: Target): void {
    if (target.resting) clearTimeout(target.resting)
    target.resting = null
  }

  function answered(target: Target): void {
    wake(target)
    target.failures = 0
  }

  function failed(target: Target): void {
    if (!target.resting) rest(target, probeMs * Math.min(MAX_BACKOFF, 2 ** target.failures++))
  }

  function rest(target: Target, ms: number): void {
    if (!closed) target.resting = setTimeout(() => void probe(target), ms).unref()
  }

  /** Probes in the background, so that no call has to find out which process is back. */
  async function probe(target: Target): Promise<void> {
    const timer = target.resting
    const isThere = await target.pool
      .request({
        method: 'GET',
        path: '/health/ready',
        headersTimeout: PROBE_TIMEOUT_MS,
        bodyTimeout: PROBE_TIMEOUT_MS,
      })
      .then(async ({ statusCode, body }) => {
        await body.dump()
        return !isAway(statusCode)
      })
      .catch(() => false)
    if (target.resting !== timer) return
    if (isThere) wake(target)
    else rest(target, probeMs)
  }

  async function call<T>(
    method: string,
    path: string,
    headers: Record<string, string>,
    body: string | undefined,
    { key, timeoutMs = TIMEOUT_MS, repeatable = false }: CallOptions,
  ): Promise<{ status: number; body: T }> {
    const order = ranked(key)
    const attempts = Math.max(2, order.length)
    let failure: ProblemError | undefined
    for (let attempt = 0; attempt < attempts; attempt++) {
      const target = order[attempt % order.length]
      if (!target) break
      try {
        const answer = await target.pool.request({
          method,
          path,
          headers,
          body: body ?? null,
          headersTimeout: timeoutMs,
          bodyTimeout: timeoutMs,
        })
        const text = await answer.body.text()
        if (!isAway(answer.statusCode)) answered(target)
        if (answer.statusCode < 400) {
          return { status: answer.statusCode, body: (text === '' ? undefined : JSON.parse(text)) as T }
        }
        const retryAfter = answer.headers['retry-after']
        failure = problemOf(answer.statusCode, text, Array.isArray(retryAfter) ? retryAfter[0] : retryAfter)
        if (!isAway(answer.statusCode)) throw failure
        failed(target)
        // A lone process that sheds load must not be asked twice for it.
        if (!repeatable || order.length === 1) throw failure
      } catch (error) {
        if (error instanceof ProblemError) throw error
        failure = problem('unavailable', { retryAfter: 1, cause: error })
        failed(target)
        if (!repeatable && !NOT_SENT.has(errorCode(error))) throw failure
      }
    }
    throw failure ?? problem('unavailable', { retryAfter: 1 })
  }

  const isRepeatable = (method: 'GET' | 'POST', body: unknown): boolean =>
    method === 'GET' || (typeof body === 'object' && body !== null && 'clientMessageId' in body)

  return {
    internal: async <P extends InternalPath>(
      path: P,
      body: InternalBody<P>,
      callOptions: CallOptions = {},
    ) => {
      const headers = {
        authorization: authorization(),
        'content-type': 'application/json',
        'user-agent': userAgent,
      }
      const answer = await call<InternalResult<P>>('POST', path, headers, JSON.stringify(body), {
        repeatable: true,
        ...callOptions,
      })
      return answer.body
    },
    asCaller: <T>(
      method: 'GET' | 'POST',
      path: string,
      token: string,
      body?: unknown,
      callerOptions: CallerOptions = {},
    ) => {
      const headers: Record<string, string> = { authorization: `Bearer ${token}`, 'user-agent': userAgent }
      if (body !== undefined) headers['content-type'] = 'application/json'
      if (callerOptions.requestId !== undefined) headers['x-request-id'] = callerOptions.requestId
      return call<T>(method, path, headers, body === undefined ? undefined : JSON.stringify(body), {
        repeatable: isRepeatable(method, body),
        ...callerOptions,
      })
    },
    reachable: () => targets.some(({ resting }) => !resting),
    close: async () => {
      closed = true
      for (const target of targets) wake(target)
      await Promise.all(targets.map((target) => target.pool.destroy()))
    },
  }
}
