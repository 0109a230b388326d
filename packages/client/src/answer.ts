import type { Message, StreamResult } from '@parley/contract'
import type { Connection } from './connection.ts'
import { ParleyError, toParleyError } from './errors.ts'
import { asSent } from './json.ts'
import type { Rest } from './rest.ts'
import { backoff, insist, sleep } from './timing.ts'

export interface AnswerOptions {
  model?: string
  /** The message that this one answers. */
  parentId?: string
}

/** An answer being written. */
export interface Answer {
  /** Appends; goes out within 25 ms, together with whatever else was written by then. No effect once it is over. */
  write(text: string): void
  /** The text so far. */
  readonly text: string
  /**
   * Ends the answer; resolves with the message as stored, which has its cost. `content` replaces what was written. If
   * somebody else ended it before (a cancel), it resolves with that message. Once the agent stops, the text counts as
   * half an answer: without `content` it ends as failed, or, where it was begun only then, comes to nothing
   * (`aborted`). Neither has its usage stored.
   */
  end(result?: StreamResult): Promise<Message>
  /** Ends it as failed, with what was written. */
  abort(): Promise<Message>
  /** Fires when the answer is over without an `end`: cancelled by a participant, or refused. */
  readonly signal: AbortSignal
}

export interface AnswerDependencies {
  connection: Connection
  rest: Rest
  closed: AbortSignal
}

interface Started {
  messageId: string
  /** Set once the message is no longer streaming. */
  ended: Message | null
}

const FLUSH_MS = 25
/** UTF-16 units in one piece; however they are written, it fits into a packet. */
const DELTA_UNITS = 32 * 1024

/**
 * Streams into one message. After a reconnect it takes the message up again by the same `start`, on whichever gateway,
 * and continues where the server says it stands; `end` carries the whole text, so anything lost on the way is there in
 * the end. `gone`: nothing can be answered any longer.
 */
export function createAnswer(
  { connection, rest, closed, gone }: AnswerDependencies & { gone: AbortSignal },
  conversationId: string,
  clientMessageId: string,
  options: AnswerOptions,
): Answer {
  const over = new AbortController()
  let text = ''
  let sent = 0
  let messageId: string | null = null
  /** This connection's `start` is acknowledged, so deltas may flow. */
  let flowing = false
  let timer: ReturnType<typeof setTimeout> | undefined
  let ending: Promise<Message> | null = null
  let starting: Promise<Started> | null = null
  let refused: ParleyError | null = null
  /** Where the server stood at the last start. */
  let startedAt = 0
  /** What follows there was refused for good. */
  let stuckAt = -1
  /** What stands there an earlier process wrote: not the beginning of this text, and replaced by its end. */
  let foreign = false

  function finish(): void {
    clearTimeout(timer)
    for (const off of offs) off()
  }

  /** It was over before it was ended here. */
  function cut(): void {
    finish()
    over.abort()
  }

  function flush(): void {
    timer = undefined
    if (!ending) pass()
  }

  function pass(): void {
    if (!flowing || messageId === null || over.signal.aborted) return
    for (;;) {
      const most = Math.min(text.length, sent + DELTA_UNITS)
      // Half of a surrogate pair is no text: it waits for its other half.
      const last = text.charCodeAt(most - 1)
      const until = last >= 0xd800 && last <= 0xdbff ? most - 1 : most
      if (until <= sent) return
      connection.tell('message:stream', {
        op: 'delta',
        messageId,
        index: sent,
        text: text.slice(sent, until),
      })
      sent = until
    }
  }

  async function requestStart(): Promise<Started> {
    for (let failures = 1; ; failures++) {
      try {
        await connection.connect(closed)
        const ack = await connection.request('message:stream', {
          op: 'start',
          conversationId,
          clientMessageId,
          ...(options.parentId === undefined ? {} : { parentId: options.parentId }),
          ...(options.model === undefined ? {} : { model: options.model }),
        })
        if (ack.messageId === undefined) throw new ParleyError('internal', 'A start without a message')
        const isFirst = messageId === null
        messageId = ack.messageId
        const ended = ack.message && ack.message.status !== 'streaming' ? ack.message : null
        sent = ack.index ?? 0
        startedAt = sent
        foreign = (isFirst || foreign) && sent > 0
        flowing = !foreign && sent !== stuckAt
        flush()
        return { messageId, ended }
      } catch (thrown) {
        const error = toParleyError(thrown)
        if (!error.retryable) throw error
        await sleep(backoff(failures, error.retryAfterMs), closed)
      }
    }
  }

  const isBegun = (): boolean => messageId !== null || starting !== null

  function start(): Promise<Started> {
    starting ??= requestStart().finally(() => {
      starting = null
    })
    return starting
  }

  /** Begins, or takes the message up again; ends here if it ended there. */
  function resume(): void {
    flowing = false
    // Begun now it would only be cut off: an end that has the whole begins it itself.
    if (gone.aborted && !isBegun()) return
    start().then(
      ({ ended }) => {
        if (ended) cut()
      },
      (error: unknown) => {
        refused = toParleyError(error)
        cut()
      },
    )
  }

  async function settle(op: 'end' | 'abort', fields: StreamResult): Promise<Message> {
    if (refused) throw refused
    if (op === 'abort' && !isBegun()) throw new ParleyError('aborted', 'The answer was not begun')
    let known: Started | null = messageId === null || !flowing ? await start() : { messageId, ended: null }
    for (let failures = 1; ; failures++) {
      if (refused) throw refused
      if (known.ended) return known.ended
      // An end carries the whole text.
      if (op === 'abort') pass()
      try {
        const request =
          op === 'end'
            ? ({ op: 'end', messageId: known.messageId, ...fields } as const)
            : ({ op: 'abort', messageId: known.messageId } as const)
        const { message } = await connection.request('message:stream', request)
        return message ?? (await rest.messages.get(known.messageId))
      } catch (thrown) {
        const error = toParleyError(thrown)
        if (error.code === 'conflict' || error.code === 'not_found') {
          // It was ended by somebody else, or its owner forgot it: the stored message says how it stands.
          const { messageId: id } = known
          const stored = await insist(() => rest.messages.get(id), closed)
          if (stored.status !== 'streaming') return stored
        } else if (!error.retryable) throw error
        await sleep(backoff(failures, error.retryAfterMs), closed)
        known = await start()
      }
    }
  }

  async function conclude(op: 'end' | 'abort', fields: StreamResult): Promise<Message> {
    try {
      const message = await settle(op, fields)
      if (op === 'end' && message.status !== 'sent') cut()
      else finish()
      return message
    } catch (error) {
      // The message is still being streamed where an end was refused: another may do, or an abort.
      if (op === 'end') ending = null
      else finish()
      throw error
    }
  }

  function close(op: 'end' | 'abort', fields: StreamResult): Promise<Message> {
    ending ??= conclude(op, fields)
    return ending
  }

  closed.addEventListener('abort', cut)
  const offs = [
    () => closed.removeEventListener('abort', cut),
    connection.events.on('connected', () => {
      if (!ending) resume()
    }),
    connection.events.on('disconnected', () => {
      flowing = false
    }),
    connection.events.on('message:cancel', (cancel) => {
      if (cancel.messageId === messageId) over.abort()
    }),
    connection.events.on('message:updated', (message) => {
      if (message.id === messageId && message.status !== 'streaming' && !ending) over.abort()
    }),
    connection.events.on('message:error', ({ event, code, retryable }) => {
      // A delta was refused; which one isn't said. The start tells where the server stands.
      if (event !== 'message:stream' || !flowing || ending || sent === startedAt) return
      stuckAt = retryable || code === 'conflict' ? -1 : startedAt
      resume()
    }),
  ]
  resume()

  return {
    get text() {
      return text
    },
    signal: over.signal,
    write(more) {
      if (over.signal.aborted || ending) return
      text += more
      timer ??= setTimeout(flush, FLUSH_MS)
    },
    end: async (result = {}) =>
      close(gone.aborted && result.content === undefined ? 'abort' : 'end', {
        content: text,
        ...asSent(result),
      }),
    abort: () => close('abort', {}),
  }
}
