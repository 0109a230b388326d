import type { Message } from '@parley/contract'

export interface Inbox {
  /** What was written before the join is queued. */
  readonly settled: boolean
  /** A message was written. */
  written(message: Message): void
  /** The streamed answer of another agent has ended. */
  ended(message: Message): void
  /** A message was deleted. */
  deleted(message: Message): void
  /** The backlog, which has all that was written up to the join, at this seq. */
  settle(backlog: readonly Message[], joinedAt: number): void
}

/**
 * Of one conversation, what is handed to the agent: the backlog, and behind it what is live, each message once.
 * `after`: everything up to this seq was handed on before. `withdraw`: what was handed on is deleted.
 */
export function createInbox(
  after: number,
  hand: (message: Message) => void,
  withdraw: (message: Message) => void,
): Inbox {
  let backlogEnd = after
  /** What is live waits here for the backlog; null: no longer. */
  let waiting: (() => void)[] | null = []
  const handed = new Set<string>()

  function behindBacklog(apply: () => void): void {
    if (waiting) waiting.push(apply)
    else apply()
  }

  return {
    get settled() {
      return waiting === null
    },
    written: (message) =>
      behindBacklog(() => {
        if (message.seq > backlogEnd) hand(message)
      }),
    ended: (message) =>
      behindBacklog(() => {
        if (!handed.has(message.id)) hand(message)
      }),
    deleted: (message) => behindBacklog(() => withdraw(message)),
    settle(backlog, joinedAt) {
      backlogEnd = joinedAt
      for (const message of backlog) {
        if (message.status !== 'streaming') handed.add(message.id)
        hand(message)
      }
      const behind = waiting ?? []
      waiting = null
      for (const apply of behind) apply()
    },
  }
}
