/** Takes a listener away again. */
export type Off = () => void

export interface Emitter<Events> {
  on<E extends keyof Events>(event: E, listener: (payload: Events[E]) => void): Off
  once<E extends keyof Events>(event: E, listener: (payload: Events[E]) => void): Off
  /** Whether anybody listened. */
  emit<E extends keyof Events>(event: E, payload: Events[E]): boolean
}

/**
 * A small typed emitter. A listener that throws stops neither delivery nor the others: what it threw surfaces as an
 * uncaught error of its own.
 */
export function createEmitter<Events>(): Emitter<Events> {
  const listeners: { [E in keyof Events]?: Set<(payload: Events[E]) => void> } = {}

  function on<E extends keyof Events>(event: E, listener: (payload: Events[E]) => void): Off {
    const set = listeners[event] ?? new Set()
    listeners[event] = set
    // One for each call: the same listener may be given twice, and taken away once.
    const own = (payload: Events[E]) => listener(payload)
    set.add(own)
    return () => {
      set.delete(own)
    }
  }

  return {
    on,
    once(event, listener) {
      const off = on(event, (payload) => {
        off()
        listener(payload)
      })
      return off
    },
    emit(event, payload) {
      const heard = [...(listeners[event] ?? [])]
      for (const listener of heard) {
        try {
          listener(payload)
        } catch (error) {
          queueMicrotask(() => {
            throw error
          })
        }
      }
      return heard.length > 0
    },
  }
}
