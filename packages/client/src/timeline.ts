import type { Message } from '@parley/contract'

export interface TimelineSink {
  /** A message, in rising seq, each once, in its latest known state. */
  message(message: Message): void
  /** A newer state of a message that was handed out before. */
  update(message: Message): void
  /** False: a listener has left; what was not handed out by then is not, and does not count as seen. */
  isFollowed(): boolean
}

export type Timeline = ReturnType<typeof createTimeline>

/** Change numbers of messages that are remembered, so that an old state never follows a newer one. */
const REMEMBERED = 2_000

/**
 * The order of one conversation as its reader sees it: two counters and what waits for them. Knows no network; the
 * room feeds it and fetches what it says is missing.
 */
export function createTimeline(sink: TimelineSink) {
  let seq = 0
  let changeSeq = 0
  /** Live messages beyond a gap, by seq, with the seq that has to be there first. */
  const waiting = new Map<number, { message: Message; prevSeq: number }>()
  /** States that are newer than the message handed out will be, or that came before it. */
  const ahead = new Map<string, Message>()
  const states = new Map<string, number>()
  /** The change after which the conversation was told last. */
  let conversationAt = 0
  /** Change numbers seen above the contiguous ones. */
  const changesSeen = new Set<number>()

  function remember(message: Message): void {
    states.delete(message.id)
    states.set(message.id, message.changeSeq)
    if (states.size <= REMEMBERED) return
    const oldest = states.keys().next()
    if (!oldest.done) states.delete(oldest.value)
  }

  function deliver(message: Message): void {
    const newer = ahead.get(message.id)
    ahead.delete(message.id)
    const state = newer && newer.changeSeq > message.changeSeq ? newer : message
    seq = message.seq
    remember(state)
    sink.message(state)
  }

  function drain(): void {
    for (;;) {
      let next: { message: Message; prevSeq: number } | undefined
      for (const entry of waiting.values()) {
        if (!next || entry.message.seq < next.message.seq) next = entry
      }
      if (!next || !sink.isFollowed() || (next.prevSeq > seq && next.message.seq > seq)) return
      waiting.delete(next.message.seq)
      if (next.message.seq > seq) deliver(next.message)
    }
  }

  return {
    /** Everything up to this seq was handed out or is void. */
    get seq() {
      return seq
    },
    /** Everything up to this change was handed out. */
    get changeSeq() {
      return changeSeq
    },
    /** Changes that are known above `changeSeq`; numbers in between were folded into later ones, or are on the way. */
    get changesAhead() {
      return changesSeen.size
    },
    /** The seq up to which messages are missing, 0 if none: what to fetch before the waiting ones can go out. */
    get missingUpTo() {
      let up = 0
      for (const { prevSeq } of waiting.values()) up = Math.max(up, prevSeq)
      return up > seq ? up : 0
    },

    /** Where the reader stands, whatever came before; what is older is not asked for. */
    startAt(atSeq: number, atChangeSeq: number): void {
      for (const known of [waiting, ahead, states, changesSeen]) known.clear()
      seq = atSeq
      changeSeq = atChangeSeq
      conversationAt = 0
    },

    /** A live message. False: something before it is missing, it waits. */
    live(message: Message, prevSeq: number): boolean {
      if (message.seq <= seq) return true
      waiting.set(message.seq, { message, prevSeq })
      drain()
      return message.seq <= seq
    },

    /** Fetched messages, ascending, without a gap from `seq` on; everything up to `throughSeq` is then known. */
    page(messages: readonly Message[], throughSeq = 0): void {
      for (const message of messages) {
        if (!sink.isFollowed()) return
        if (message.seq > seq) deliver(message)
      }
      if (!sink.isFollowed()) return
      seq = Math.max(seq, throughSeq)
      drain()
    },

    /** The latest state of a message that changed. */
    changed(message: Message): void {
      const number = message.changeSeq
      const known = states.get(message.id)
      const repeat = known === undefined ? number <= changeSeq : known >= number
      this.change(number)
      if (repeat) return
      if (message.seq > seq) {
        const held = ahead.get(message.id)
        if (!held || held.changeSeq < number) ahead.set(message.id, message)
        return
      }
      remember(message)
      sink.update(message)
    },

    /** The conversation as it was after this change; false if that or a newer state of it was told before. */
    conversationChanged(number: number): boolean {
      if (!this.change(number) || number < conversationAt) return false
      conversationAt = number
      return true
    },

    /** A change number was seen; false if it had been before. */
    change(number: number): boolean {
      if (number <= changeSeq || changesSeen.has(number)) return false
      changesSeen.add(number)
      while (changesSeen.delete(changeSeq + 1)) changeSeq += 1
      return true
    },

    /** All changes up to this one were handed out. */
    changesThrough(number: number): void {
      changeSeq = Math.max(changeSeq, number)
      for (const seen of changesSeen) if (seen <= changeSeq) changesSeen.delete(seen)
      while (changesSeen.delete(changeSeq + 1)) changeSeq += 1
    },
  }
}
