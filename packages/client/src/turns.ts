import type { ConversationContext, Message } from '@parley/contract'
import { type Answer, type AnswerDependencies, type AnswerOptions, createAnswer } from './answer.ts'
import type { Rest } from './rest.ts'
import type { Room } from './room.ts'
import type { MessageInput } from './types.ts'

/** What a handler has at hand to answer one message. */
export interface Turn {
  conversation: Room
  /** What goes into the prompt: the summary of what is old and the newest messages, within the budget. */
  context(options?: { maxTokens?: number; recent?: number }): Promise<ConversationContext>
  /** Begins a streamed answer; the others see it at once, empty. Ended by itself when the handler returns. */
  stream(options?: AnswerOptions): Answer
  /** Answers with a whole message. */
  reply(message: MessageInput): Promise<Message>
  /** Fires when a participant cancels the answer, the conversation is gone, or the agent stops. */
  signal: AbortSignal
}

export type MessageHandler = (message: Message, turn: Turn) => Promise<void> | void

/** Hands one message after the other to the handler, with what it needs to answer. */
export function createTurns({
  rest,
  answers,
  report,
}: {
  rest: Pick<Rest, 'conversations'>
  answers: AnswerDependencies
  report(error: unknown, conversationId: string, messageId?: string): void
}) {
  let handler: MessageHandler | null = null
  let stopped = false
  /** Answers of handlers that run. */
  const written = new Set<Answer>()

  return {
    handleWith(next: MessageHandler): void {
      handler = next
    },

    /** From now on none begins; those that have begun go on. */
    stop(): void {
      stopped = true
    },

    /** Ends the answers of handlers that go on although nothing can be answered any more. */
    async abandon(): Promise<void> {
      await Promise.allSettled([...written].map((answer) => answer.abort()))
    },

    /**
     * Resolves when the handler is done and its answers have ended. `gone`: nothing can be answered any more.
     * `failures`: how many answers to it have failed; the first keys are theirs.
     */
    async handle(room: Room, message: Message, gone: AbortSignal, failures = 0): Promise<void> {
      if (!handler || stopped || gone.aborted) return
      const open: Answer[] = []
      let done = false
      const over = new AbortController()
      const { signal } = over
      // Not AbortSignal.any: what listens to one of those is held as long as the longest-lived of its sources.
      const cancel = () => over.abort()
      gone.addEventListener('abort', cancel)
      let parts = failures
      const key = () => {
        parts += 1
        return parts === 1 ? `answer-${message.id}` : `answer-${message.id}-${parts}`
      }
      const turn: Turn = {
        conversation: room,
        signal,
        context: (budget = {}) => rest.conversations.context(room.id, { ...budget, signal }),
        stream(about = {}) {
          const answer = createAnswer({ ...answers, gone }, room.id, key(), {
            parentId: message.id,
            ...about,
          })
          open.push(answer)
          // What is begun later, in the background, nobody would take out again.
          if (!done) written.add(answer)
          answer.signal.addEventListener('abort', cancel)
          return answer
        },
        reply(input) {
          const draft = typeof input === 'string' ? { content: input } : input
          return room.send({ parentId: message.id, clientMessageId: key(), ...draft })
        },
      }
      try {
        await handler(message, turn)
        for (const answer of open) await answer.end()
      } catch (error) {
        // What a cancelled model call throws is not a failure.
        if (!signal.aborted) report(error, room.id, message.id)
        for (const answer of open) await answer.abort().catch((cause: unknown) => report(cause, room.id))
      } finally {
        gone.removeEventListener('abort', cancel)
        done = true
        for (const answer of open) written.delete(answer)
      }
    },
  }
}
