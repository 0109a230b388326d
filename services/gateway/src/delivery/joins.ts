import {
  type InternalJoin,
  type InternalJoinAnswer,
  type InternalJoinResult,
  type InternalJoinsResult,
  ProblemError,
  problem,
} from '@parley/contract'
import type { ApiClient } from '@parley/service-kit'

/** Joins of one call; as many as the api takes. */
const MOST_TOGETHER = 50
/** Milliseconds that a join waits at most for calls under way, so that one which hangs holds nobody up. */
const MOST_WAIT_MS = 25

interface Waiting {
  join: InternalJoin
  resolve(result: InternalJoinResult | Promise<InternalJoinResult>): void
  reject(error: unknown): void
}

/**
 * Asks the api about joins. One that comes alone is asked at once; those that come while a call is under way travel
 * together in the next: when another gateway ends, everybody comes back at the same moment.
 */
export function createJoins(api: Pick<ApiClient, 'internal'>) {
  let waiting: Waiting[] = []
  let underWay = 0
  let timer: NodeJS.Timeout | null = null

  const askAlone = (join: InternalJoin): Promise<InternalJoinResult> =>
    api.internal<InternalJoinResult>('/internal/join', join, { key: join.conversationId })

  /** Every answer goes to the join that stood at its place. */
  function settle({ join, resolve, reject }: Waiting, answer: InternalJoinAnswer | undefined): void {
    if (answer === undefined) reject(problem('unavailable', { detail: 'A join was not answered' }))
    else if ('result' in answer) resolve(answer.result)
    else if ('problem' in answer) reject(problem(answer.problem.code, { detail: answer.problem.detail }))
    else resolve(askAlone(join))
  }

  async function send(batch: readonly Waiting[]): Promise<void> {
    underWay++
    try {
      const [only] = batch
      if (batch.length === 1 && only) only.resolve(await askAlone(only.join))
      else {
        const joins = batch.map(({ join }) => join)
        const { answers } = await api.internal<InternalJoinsResult>('/internal/joins', { joins })
        for (const [place, item] of batch.entries()) settle(item, answers[place])
      }
    } catch (error) {
      // An api of before this route, while processes are being replaced, must not look like conversations that are gone.
      const isUnknown = batch.length > 1 && error instanceof ProblemError && error.code === 'not_found'
      for (const { join, resolve, reject } of batch) {
        if (isUnknown) resolve(askAlone(join))
        else reject(error)
      }
    } finally {
      underWay--
      if (waiting.length > 0) flush()
    }
  }

  function flush(): void {
    if (timer) clearTimeout(timer)
    timer = null
    const batch = waiting
    waiting = []
    if (batch.length > 0) void send(batch)
  }

  return {
    /** @throws ProblemError not_found for who may not follow it as for what does not exist; unavailable */
    ask(join: InternalJoin): Promise<InternalJoinResult> {
      return new Promise((resolve, reject) => {
        waiting.push({ join, resolve, reject })
        if (waiting.length >= MOST_TOGETHER) flush()
        else if (underWay === 0) {
          // What else this turn of the event loop brings goes along.
          if (waiting.length === 1) setImmediate(flush)
        } else timer ??= setTimeout(flush, MOST_WAIT_MS)
      })
    },
  }
}
