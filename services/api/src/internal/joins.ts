import {
  type InternalJoin,
  type InternalJoinAnswer,
  type InternalJoinResult,
  type Message,
  type ProblemCode,
  problem,
} from '@parley/contract'
import { describeError, toProblemError } from '@parley/service-kit'
import type { FastifyBaseLogger } from 'fastify'
import type { FollowReader } from './follow.ts'

/** Characters of one answer, its first join apart: nobody parses more than about this in one go for others' sake. */
const MOST_CHARACTERS = 1024 * 1024

type Outcome = InternalJoinResult | { problem: { code: ProblemCode; detail: string } }

/**
 * Joins that reached a gateway together, each authorised by its own caller and answered by itself, as the JSON text of
 * InternalJoinsResult.
 *
 * @throws ProblemError unavailable, where not one could be answered: another process may be able to
 */
export async function answerJoins(
  follow: Pick<FollowReader, 'join'>,
  joins: readonly InternalJoin[],
  { log, requestId }: { log: Pick<FastifyBaseLogger, 'error'>; requestId: string },
): Promise<string> {
  const outcomes = await Promise.all(
    joins.map((join) =>
      follow.join(join).catch((error: unknown): Outcome => {
        const { code, message: detail, cause } = toProblemError(error)
        if (code === 'internal') log.error({ requestId, err: describeError(cause ?? error) }, 'join failed')
        return { problem: { code, detail } }
      }),
    ),
  )
  const isAway = (outcome: Outcome) => 'problem' in outcome && outcome.problem.code === 'unavailable'
  if (outcomes.every(isAway)) throw problem('unavailable', { retryAfter: 1 })
  return assemble(outcomes)
}

/** Each page of messages is written once, for all who got the same. */
function assemble(outcomes: readonly Outcome[]): string {
  const pages: string[] = []
  const placeOf = new Map<readonly Message[], number>()
  let characters = 0
  const write = (value: object): string => {
    const text = JSON.stringify(value)
    characters += text.length
    return text
  }
  const answers = outcomes.map((outcome) => {
    if (characters > MOST_CHARACTERS) return ALONE
    if ('problem' in outcome) return write(outcome)
    const { messages, ...result } = outcome
    const page = placeOf.get(messages) ?? pages.push(write(messages)) - 1
    placeOf.set(messages, page)
    return write({ result, page } satisfies InternalJoinAnswer)
  })
  return `{"pages":[${pages.join(',')}],"answers":[${answers.join(',')}]}`
}

const ALONE = JSON.stringify({ alone: true } satisfies InternalJoinAnswer)
