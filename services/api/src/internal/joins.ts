import { type InternalJoin, type InternalJoinAnswer, problem } from '@parley/contract'
import { describeError, toProblemError } from '@parley/service-kit'
import type { FastifyBaseLogger } from 'fastify'
import type { FollowReader } from './follow.ts'

/** Characters of one answer, its first join apart: nobody parses more than about this in one go for others' sake. */
const MOST_CHARACTERS = 1024 * 1024

/**
 * Joins that reached a gateway together, each authorised by its own caller and answered by itself, as the JSON text of
 * InternalJoinsResult.
 *
 * @throws ProblemError unavailable, where not one could be answered: another process may be able to
 */
export async function answerJoins(
  follow: Pick<FollowReader, 'join'>,
  joins: readonly InternalJoin[],
  log: Pick<FastifyBaseLogger, 'error'>,
): Promise<string> {
  const answers = await Promise.all(
    joins.map(
      (join): Promise<InternalJoinAnswer> =>
        follow.join(join).then(
          (result) => ({ result }),
          (error: unknown) => {
            const { code, message: detail, cause } = toProblemError(error)
            if (code === 'internal') log.error({ err: describeError(cause ?? error) }, 'join failed')
            return { problem: { code, detail } }
          },
        ),
    ),
  )
  const isAway = (answer: InternalJoinAnswer) => 'problem' in answer && answer.problem.code === 'unavailable'
  if (answers.every(isAway)) throw problem('unavailable', { retryAfter: 1 })
  let characters = 0
  const texts = answers.map((answer) => {
    if (characters > MOST_CHARACTERS) return ALONE
    const text = JSON.stringify(answer)
    characters += text.length
    return text
  })
  return `{"answers":[${texts.join(',')}]}`
}

const ALONE = JSON.stringify({ alone: true } satisfies InternalJoinAnswer)
