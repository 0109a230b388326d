import type { Message } from '@parley/contract'

/** Messages that make sense only together: a tool call and its results, or one message by itself. */
export interface PromptPart {
  messages: Message[]
  /** False: a call whose result is missing, or a result whose call is. */
  complete: boolean
}

/** Divides messages (ascending by seq) into parts; returns the part of each message, in the same order. */
export function promptParts(messages: readonly Message[]): PromptPart[] {
  /** Calls that may still get a result, by id: the latest with that id. */
  const calls = new Map<string, PromptPart>()
  /** Ids of a part's calls that have no result yet. */
  const missing = new Map<PromptPart, Set<string>>()
  return messages.map((message) => {
    if (message.toolCallId !== null && message.toolCalls.length === 0) {
      const part = calls.get(message.toolCallId)
      if (!part) return { messages: [message], complete: false }
      part.messages.push(message)
      const open = missing.get(part)
      open?.delete(message.toolCallId)
      part.complete = !open || open.size === 0
      return part
    }
    const open = message.toolCalls.filter(({ result }) => result === undefined).map(({ id }) => id)
    const part: PromptPart = { messages: [message], complete: open.length === 0 }
    missing.set(part, new Set(open))
    for (const { id } of message.toolCalls) calls.set(id, part)
    return part
  })
}
