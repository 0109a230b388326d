import type { StreamUpdate } from '@parley/contract'
import type { StreamProgress } from './types.ts'

/** Joins the deltas of answers being written, by message. */
export function createLiveText() {
  const texts = new Map<string, string>()
  return {
    /** The update with the whole text so far; null where it doesn't join on to what is held. */
    apply(update: StreamUpdate): StreamProgress | null {
      const held = texts.get(update.messageId)
      const text = update.text ?? ''
      if (update.op === 'snapshot') {
        texts.set(update.messageId, text)
        return { ...update, content: text }
      }
      if (update.op !== 'delta') {
        texts.delete(update.messageId)
        return { ...update, content: held ?? '' }
      }
      // Overlap is harmless, a hole is not: the next snapshot or the final state fills it.
      const whole = held ?? (update.index === 0 ? '' : null)
      if (whole === null || update.index > whole.length) return null
      const content = whole.slice(0, update.index) + text
      if (content.length <= whole.length && held !== undefined && text !== '') return null
      texts.set(update.messageId, content)
      return { ...update, content }
    },
    forget(messageId: string): void {
      texts.delete(messageId)
    },
    clear(): void {
      texts.clear()
    },
  }
}
