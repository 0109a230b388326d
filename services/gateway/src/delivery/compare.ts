import { ProblemError, partitionOf } from '@parley/contract'
import type { Partition } from '@parley/events'
import type { Core } from '../services.ts'
import type { Feed } from './feed.ts'
import type { Retry } from './retry.ts'
import type { RoomAccess } from './room-access.ts'
import { ANSWER_TIMEOUT_MS } from './timeouts.ts'

const BATCH_SIZE = 1_000
/** Milliseconds between two comparisons: while events may not arrive by the streams, and otherwise. */
const POLL_MS = { silent: 1_000, usual: 30_000 }

/** Compares the rooms here with the api: when events may have been missed, and from time to time. */
export function createCompare(
  { api }: Pick<Core, 'api'>,
  { roomAccess, retry }: { roomAccess: Pick<RoomAccess, 'feeds' | 'restartJoins' | 'endRoom'>; retry: Retry },
) {
  let polling: NodeJS.Timeout | null = null
  let live = false
  let closed = false

  /**
   * Asks the api which of these conversations moved on: those have a gap, which is filled if the missing events do not
   * come in time. Rejects if the api can't be reached.
   */
  async function compare(feeds: readonly Feed[]): Promise<void> {
    for (let at = 0; at < feeds.length; at += BATCH_SIZE) {
      const some = feeds.slice(at, at + BATCH_SIZE)
      const ids = some.map(({ room }) => room.conversationId)
      const { heads } = await api.internal('/internal/heads', { ids }, { timeoutMs: ANSWER_TIMEOUT_MS })
      const byId = new Map(heads.map((head) => [head.id, head]))
      for (const feed of some) {
        if (!feed.position()) continue
        const head = byId.get(feed.room.conversationId)
        if (!head) roomAccess.endRoom(feed.room.conversationId)
        else feed.hint({ seq: head.throughSeq, change: head.changeSeq })
      }
    }
  }

  function pollLater(): void {
    const timer = setTimeout(() => void poll(timer), live ? POLL_MS.usual : POLL_MS.silent)
    polling = timer
  }

  /** `timer`: the one that led here; if the tail's state changed meanwhile, another has replaced it. */
  async function poll(timer: NodeJS.Timeout): Promise<void> {
    try {
      await compare([...roomAccess.feeds()])
    } catch (error) {
      if (!(error instanceof ProblemError)) throw error
    }
    if (polling === timer) pollLater()
  }

  return {
    /** Events of the partition may have been missed. */
    onLoss(partition: Partition): void {
      const concerned = [...roomAccess.feeds()].filter(
        ({ room }) => partition === 'control' || partitionOf(room.conversationId) === partition,
      )
      // Joins under way may have been answered before the lost events happened.
      for (const { room } of concerned) roomAccess.restartJoins(room)
      void retry(() => compare(concerned))
    },
    /**
     * Whether events arrive by the streams; while they may not, rooms are compared often. Rarely also while they do:
     * after a failover an api process may publish to another Redis, unnoticed here.
     */
    onTailState(isLive: boolean): void {
      live = isLive
      if (polling) clearTimeout(polling)
      if (!closed) pollLater()
    },
    close(): void {
      closed = true
      if (polling) clearTimeout(polling)
      polling = null
    },
  }
}
