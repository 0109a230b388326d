import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Caller, ConversationContext, Message } from '@parley/contract'
import type { MessagePages, ReadScope } from '../messages/pages.ts'
import { unhurried } from '../messages/unhurried.ts'
import type { Access } from '../participants/access.ts'
import { type PromptPart, promptParts } from './prompt-parts.ts'
import { tokensOf } from './tokens.ts'
import type { SummaryWorkReader } from './work.ts'

const DEFAULT_TOKENS = 8_000
const DEFAULT_RECENT = 50
const PAGE = 50
/** Tokens that chat formats need to separate messages. */
const FRAME = 4

export interface ContextOptions {
  access: Access
  pages: Pick<MessagePages, 'page'>
  reader: Pick<SummaryWorkReader, 'standing'>
}

export interface ContextRequest {
  /** Tokens of the whole, default 8,000. */
  maxTokens?: number | undefined
  /** Messages at most, default 50. */
  recent?: number | undefined
}

/**
 * What a prompt has of a message: its text, attachments, and tool calls with their results. Thinking is no part of it.
 */
const promptText = ({ content, toolCalls, toolCallId, attachments }: Message): string =>
  [content, toolCalls.length > 0 ? JSON.stringify(toolCalls) : '', toolCallId ?? '', ...attachments]
    .filter((text) => text !== '')
    .join('\n')

/** Tokens that a message takes. */
export const messageTokens = (message: Message): number => FRAME + tokensOf(promptText(message))

export type Context = ReturnType<typeof createContext>

/** The prompt's share of a conversation: the summary, then the latest messages word for word, within a budget. */
export function createContext({ access, pages, reader }: ContextOptions) {
  /** The newest messages, ascending, until one more would not fit, each with its tokens. */
  async function newest(scope: ReadScope, count: number, budget: number) {
    const found: { message: Message; tokens: number }[] = []
    let used = 0
    let before: number | undefined
    while (found.length < count && used <= budget) {
      const limit = Math.min(PAGE, count - found.length)
      const { data, page } = await pages.page(
        scope,
        ['context'],
        { deletedAt: { $exists: false } },
        { before },
        limit,
      )
      const texts = data.toReversed().map((message) => ({ message, content: promptText(message) }))
      for await (const { message, content } of unhurried(texts)) {
        before = message.seq
        if (message.status === 'streaming') continue
        if (used > budget) break
        const tokens = FRAME + tokensOf(content, budget)
        used += tokens
        found.unshift({ message, tokens })
      }
      if (!page.hasMore || data.length === 0) break
      await nextTurn()
    }
    return found
  }

  return {
    /**
     * Newest first, until one does not fit; a tool call only together with all its results. A summary is left
     * out where no message fits beside it, but one does without it.
     * `tokens` never exceeds `maxTokens`.
     * @throws ProblemError not_found
     */
    async get(
      caller: Caller,
      conversationId: string,
      { maxTokens = DEFAULT_TOKENS, recent = DEFAULT_RECENT }: ContextRequest,
    ): Promise<ConversationContext> {
      const { head } = await access.require(caller, conversationId, 'conversation:context')
      const standing = await reader.standing(head)
      const cost = standing ? FRAME + tokensOf(standing.text) : 0
      const candidates = await newest(head, recent, maxTokens)
      const beside = fitting(candidates, maxTokens - cost)
      const alone = fitting(candidates, maxTokens)
      const crowdsOut = cost > maxTokens || (beside.messages.length === 0 && alone.messages.length > 0)
      if (standing && !crowdsOut) {
        return {
          summary: standing.text,
          coversSeq: standing.coversSeq,
          messages: beside.messages,
          tokens: cost + beside.tokens,
        }
      }
      return { summary: null, coversSeq: 0, ...alone }
    },
  }
}

/** From the newest back, whole parts, until one does not fit. */
export function fitting(
  candidates: readonly { message: Message; tokens: number }[],
  budget: number,
): { messages: Message[]; tokens: number } {
  const parts = promptParts(candidates.map(({ message }) => message))
  const sizes = new Map(candidates.map(({ message, tokens }) => [message, tokens]))
  const taken = new Set<PromptPart>()
  let tokens = 0
  for (const part of parts.toReversed()) {
    if (!part.complete || taken.has(part)) continue
    const size = part.messages.reduce((sum, message) => sum + (sizes.get(message) ?? 0), 0)
    if (tokens + size > budget) break
    tokens += size
    taken.add(part)
  }
  const messages = candidates
    .filter((_, i) => taken.has(parts[i] as PromptPart))
    .map(({ message }) => message)
  return { messages, tokens }
}
