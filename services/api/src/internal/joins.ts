import {
  type InternalJoin,
  type InternalJoinAnswer,
  type InternalJoinResult,
  type ProblemCode,
  problem,
} from '@parley/contract'
import { toProblemError } from '@parley/service-kit'
import type { FastifyBaseLogger } from 'fastify'
import type { GatewayReads } from './gateway-reads.ts'

/** Characters after which the remaining joins are told to ask alone, so that nobody parses a long answer for others. */
const MAX_CHARACTERS = 1024 * 1024

type Outcome = InternalJoinResult | { problem: { code: ProblemCode; detail: string } }

/**
 * Answers joins that reached a gateway together, each authorised by its own caller and answered separately, with the
 * JSON text of InternalJoinsResult.
 *
 * @throws ProblemError unavailable, if not one could be answered: another process may be able to
 */
export async function answerJoins(
  gatewayReads: Pick<GatewayReads, 'join'>,
  joins: readonly InternalJoin[],
  { log, requestId }: { log: Pick<FastifyBaseLogger, 'error'>; requestId: string },
): Promise<string> {
  const outcomes = await Promise.all(
    joins.map((join) =>
      gatewayReads.join(join).catch((error: unknown): Outcome => {
        const { code, message: detail, cause } = toProblemError(error)
        if (code === 'internal') log.error({ requestId, err: cause ?? error }, 'join failed')
        return { problem: { code, detail } }
      }),
    ),
  )
  const isAway = (outcome: Outcome) => 'problem' in outcome && outcome.problem.code === 'unavailable'
  if (outcomes.every(isAway)) throw problem('unavailable', { retryAfter: 1 })
  return assemble(outcomes)
}

/** Each page of messages, and each room's receipts, are written once for all who get the same. */
function assemble(outcomes: readonly Outcome[]): string {
  let characters = 0
  const write = (value: object): string => {
    const text = JSON.stringify(value)
    characters += text.length
    return text
  }
  const [pages, reads] = [createTable(write), createTable(write)]
  const answers = outcomes.map((outcome) => {
    if (characters > MAX_CHARACTERS) return ALONE
    if ('problem' in outcome) return write(outcome)
    const { messages, receipts, ...result } = outcome
    const [page, read] = [pages.placeOf(messages), reads.placeOf(receipts)]
    return write({ result, page, read } satisfies InternalJoinAnswer)
  })
  return `{"pages":${pages.text()},"reads":${reads.text()},"answers":[${answers.join(',')}]}`
}

/** JSON texts of lists, each written when first needed. */
function createTable(write: (list: object) => string) {
  const texts: string[] = []
  const places = new Map<object, number>()
  return {
    placeOf(list: object): number {
      const place = places.get(list) ?? texts.push(write(list)) - 1
      places.set(list, place)
      return place
    },
    text: (): string => `[${texts.join(',')}]`,
  }
}

const ALONE = JSON.stringify({ alone: true } satisfies InternalJoinAnswer)
