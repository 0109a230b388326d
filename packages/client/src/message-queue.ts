import type { Message } from '@parley/contract'

type Next = (result: IteratorResult<Message>) => void

/** Hands messages to any number of loops; each keeps what it hasn't read yet. */
export function createMessageQueue() {
  const readers = new Set<{ push(message: Message): void; end(): void }>()

  function iterate(signal?: AbortSignal): AsyncIterableIterator<Message> {
    const buffer: Message[] = []
    const pulls: Next[] = []
    let ended = false
    const done: IteratorResult<Message> = { done: true, value: undefined }
    const reader = {
      push(message: Message) {
        const pull = pulls.shift()
        if (pull) pull({ done: false, value: message })
        else buffer.push(message)
      },
      end() {
        ended = true
        readers.delete(reader)
        signal?.removeEventListener('abort', abandon)
        for (const pull of pulls.splice(0)) pull(done)
      },
    }
    /** Also what it hasn't read yet is not wanted. */
    const abandon = () => {
      buffer.length = 0
      reader.end()
    }
    readers.add(reader)
    if (signal?.aborted) reader.end()
    signal?.addEventListener('abort', abandon, { once: true })
    return {
      next() {
        const value = buffer.shift()
        if (value) return Promise.resolve({ done: false, value })
        if (ended) return Promise.resolve(done)
        return new Promise((resolve) => pulls.push(resolve))
      },
      return() {
        abandon()
        return Promise.resolve(done)
      },
      [Symbol.asyncIterator]() {
        return this
      },
    }
  }

  return {
    iterate,
    push(message: Message) {
      for (const reader of readers) reader.push(message)
    },
    end() {
      for (const reader of [...readers]) reader.end()
    },
  }
}
