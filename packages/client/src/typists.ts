import type { Message, ServerPayload } from '@parley/contract'

type Typing = ServerPayload<'user:typing'>

/** Milliseconds; who goes on typing says so every 3 s. */
const TYPING_MS = 6_000

/** Who else is typing in a room. Where nobody tells that they stopped, it ends by itself, or with their message. */
export function createTypists(emit: (typing: Typing) => void) {
  const typists = new Map<string, { last: Typing; timer: ReturnType<typeof setTimeout> }>()
  const keyOf = ({ participantType, participantId }: Pick<Typing, 'participantType' | 'participantId'>) =>
    `${participantType}:${participantId}`

  function end(key: string): void {
    const typist = typists.get(key)
    if (!typist) return
    clearTimeout(typist.timer)
    typists.delete(key)
    emit({ ...typist.last, isTyping: false })
  }

  return {
    /** As told by a gateway. */
    apply(typing: Typing): void {
      const key = keyOf(typing)
      if (!typing.isTyping) {
        end(key)
        return
      }
      clearTimeout(typists.get(key)?.timer)
      typists.set(key, { last: typing, timer: setTimeout(() => end(key), TYPING_MS) })
      emit(typing)
    },
    /** Their message is there. */
    wrote: (message: Message): void => end(keyOf(message)),
    clear(): void {
      for (const key of [...typists.keys()]) end(key)
    },
  }
}
