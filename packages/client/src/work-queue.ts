/** What an agent has to do for the messages of one conversation, one after the other. */
export interface WorkQueue {
  /** Fires when the conversation is gone. */
  readonly signal: AbortSignal
  add(messageId: string, work: () => Promise<void>): void
  /** Nothing is to be done for this message any more; what has begun goes on. */
  drop(messageId: string): void
  /** The conversation is gone. */
  end(): void
  /** Resolves when all that was added before is done. */
  idle(): Promise<void>
}

export function createWorkQueue(onError: (error: unknown) => void): WorkQueue {
  const gone = new AbortController()
  /** Ids of the messages whose turn has not come. */
  const due = new Set<string>()
  let last: Promise<void> = Promise.resolve()

  return {
    signal: gone.signal,
    add(messageId, work) {
      due.add(messageId)
      last = last
        .then(async () => {
          if (due.delete(messageId)) await work()
        })
        .catch(onError)
    },
    drop: (messageId) => void due.delete(messageId),
    end: () => gone.abort(),
    idle: () => last,
  }
}
