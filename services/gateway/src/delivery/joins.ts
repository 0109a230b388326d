import {
  type InternalJoin,
  type InternalJoinAnswer,
  type InternalJoinResult,
  type InternalJoinsResult,
  type ProblemError,
  problem,
} from '@parley/contract'
import type { ApiClient } from '@parley/service-kit'
import DataLoader from 'dataloader'
import { ANSWER_TIMEOUT_MS } from './timeouts.ts'

/** Joins of one call; as many as the api takes. */
const BATCH_SIZE = 50
/** Milliseconds that a join waits for others at most. A batch longer ago than this says nothing about the next. */
const MAX_WAIT_MS = 25

/** `alone`: it has to be asked in a call of its own. */
type Answer = InternalJoinResult | ProblemError | 'alone'

/**
 * Asks the api about joins. One that comes alone is asked at once. If others came just before, it waits a millisecond
 * for each of those: when another gateway ends, everybody comes back at once, and the more there are the more of them
 * travel together.
 */
export function createJoins(api: Pick<ApiClient, 'internal'>) {
  let before = { size: 0, at: Number.NEGATIVE_INFINITY }
  const together = new DataLoader<InternalJoin, Exclude<Answer, ProblemError>>(askTogether, {
    cache: false,
    maxBatchSize: BATCH_SIZE,
    batchScheduleFn: schedule,
  })

  function schedule(depart: () => void): void {
    const isQuiet = performance.now() - before.at > MAX_WAIT_MS
    // Whatever else comes in this turn of the event loop always goes along.
    if (isQuiet) setImmediate(depart)
    else setTimeout(depart, Math.min(before.size, MAX_WAIT_MS))
  }

  /** The answers, in the order of the joins. */
  async function askTogether(joins: readonly InternalJoin[]): Promise<Answer[]> {
    before = { size: joins.length, at: performance.now() }
    if (joins.length === 1) return ['alone']
    const result = await api.internal(
      '/internal/joins',
      { joins: [...joins] },
      { timeoutMs: ANSWER_TIMEOUT_MS },
    )
    return joins.map((_, place) => readAnswer(result.answers[place], result))
  }

  return {
    /** @throws ProblemError not_found, whether it does not exist or the caller may not see it; unavailable */
    async ask(join: InternalJoin): Promise<InternalJoinResult> {
      const answer = await together.load(join)
      if (answer !== 'alone') return answer
      return api.internal('/internal/join', join, {
        key: join.conversationId,
        timeoutMs: ANSWER_TIMEOUT_MS,
      })
    },
  }
}

function readAnswer(
  answer: InternalJoinAnswer | undefined,
  { pages, reads }: Pick<InternalJoinsResult, 'pages' | 'reads'>,
): Answer {
  if (answer === undefined) return problem('unavailable', { detail: 'A join was not answered' })
  if ('problem' in answer) return problem(answer.problem.code, { detail: answer.problem.detail })
  if ('alone' in answer) return 'alone'
  return { ...answer.result, messages: pages[answer.page] ?? [], receipts: reads[answer.read] ?? [] }
}
