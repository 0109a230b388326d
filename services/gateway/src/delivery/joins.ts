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
/** Milliseconds that a join waits for company at most, and for which a batch that left tells of the next. */
const MOST_WAIT_MS = 25

interface Waiting {
  join: InternalJoin
  resolve(result: InternalJoinResult | Promise<InternalJoinResult>): void
  reject(error: unknown): void
}

/**
 * Asks the api about joins. One that comes alone is asked at once. Where others came just before, it waits a millisecond
 * for each of those: when another gateway ends, everybody comes back at the same moment, and the more they are the
 * larger the share of them that travels together.
 */
export function createJoins(api: Pick<ApiClient, 'internal'>) {
  let waiting: Waiting[] = []
  let timer: NodeJS.Timeout | undefined
  let before = { size: 0, at: Number.NEGATIVE_INFINITY }

  const askAlone = (join: InternalJoin): Promise<InternalJoinResult> =>
    api.internal<InternalJoinResult>('/internal/join', join, { key: join.conversationId })

  /** Every answer goes to the join that stood at its place. */
  function settle(
    { join, resolve, reject }: Waiting,
    answer: InternalJoinAnswer | undefined,
    pages: InternalJoinsResult['pages'],
  ): void {
    if (answer === undefined) reject(problem('unavailable', { detail: 'A join was not answered' }))
    else if ('result' in answer) resolve({ ...answer.result, messages: pages[answer.page] ?? [] })
    else if ('problem' in answer) reject(problem(answer.problem.code, { detail: answer.problem.detail }))
    else resolve(askAlone(join))
  }

  async function send(batch: readonly Waiting[]): Promise<void> {
    try {
      const [only] = batch
      if (batch.length === 1 && only) only.resolve(await askAlone(only.join))
      else {
        const joins = batch.map(({ join }) => join)
        const { pages, answers } = await api.internal<InternalJoinsResult>('/internal/joins', { joins })
        for (const [place, item] of batch.entries()) settle(item, answers[place], pages)
      }
    } catch (error) {
      // An api of before this route, while processes are being replaced, must not look like conversations that are gone.
      const isUnknown = batch.length > 1 && error instanceof ProblemError && error.code === 'not_found'
      for (const { join, resolve, reject } of batch) {
        if (isUnknown) resolve(askAlone(join))
        else reject(error)
      }
    }
  }

  function depart(): void {
    clearTimeout(timer)
    const batch = waiting
    waiting = []
    if (batch.length === 0) return
    before = { size: batch.length, at: performance.now() }
    void send(batch)
  }

  /** The first of a batch says when it leaves; what else this turn of the event loop brings always goes along. */
  function schedule(): void {
    const isQuiet = performance.now() - before.at > MOST_WAIT_MS
    if (isQuiet) setImmediate(depart)
    else timer = setTimeout(depart, Math.min(before.size, MOST_WAIT_MS))
  }

  return {
    /** @throws ProblemError not_found for who may not follow it as for what does not exist; unavailable */
    ask(join: InternalJoin): Promise<InternalJoinResult> {
      return new Promise((resolve, reject) => {
        const length = waiting.push({ join, resolve, reject })
        if (length === 1) schedule()
        else if (length === MOST_TOGETHER) depart()
      })
    },
  }
}
