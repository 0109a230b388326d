import type { Partition } from '@parley/contract'
import type { TailConnection } from './connection.ts'
import type { TailEvent } from './entries.ts'
import type { EventsLogger } from './logger.ts'
import { createPartitionTail, type StreamState } from './partition-tail.ts'
import type { LossReason } from './position.ts'

export interface Tail {
  start(): void
  /** Resolves when nothing more will be told and all connections are being closed. */
  close(): Promise<void>
  /** Whether every partition is being followed. */
  connected(): boolean
  /** Whether events also arrive: somebody has lately shown that they can write to each partition. */
  live(): boolean
}

export interface TailOptions {
  /** Makes a connection. The tail closes it; each partition has one at a time. */
  connect: () => TailConnection
  partitions: readonly Partition[]
  logger: EventsLogger
  /** Milliseconds between two checks that nothing was lost. Default 1,000. */
  checkMs?: number
  /**
   * Whether anybody here wants events of this org and conversation: all others are skipped. Default: all are wanted.
   */
  wants?(partition: Partition, org: string, cid: string): boolean
  /** Called with how many entries came, wanted or not. */
  onRead?(count: number): void
  /** New entries in their order, up to 500. Must not throw: a fault here ends the tail, and the process with it. */
  onEvents(partition: Partition, events: TailEvent[]): void
  /**
   * Events of the partition may have been missed (also called once at its first connection): the current state has to
   * be fetched. What is written after this call comes by `onEvents`; what was written up to `readUntil` has come
   * (milliseconds since 1970, by this process's clock).
   */
  onLoss(partition: Partition, reason: LossReason, readUntil: number): void
  /** Called at each change of {@link Tail.live}. */
  onState?(live: boolean): void
}

/**
 * Follows the event streams. Nothing is missed unreported: on each connection, and once a second, it checks that the
 * stream still continues what was read, and otherwise calls `onLoss`.
 */
export function createTail({
  partitions,
  onState,
  checkMs = 1_000,
  wants = () => true,
  onRead = () => undefined,
  ...options
}: TailOptions): Tail {
  const states = new Map<Partition, StreamState>(partitions.map((partition) => [partition, 'away']))
  const isLive = () => [...states.values()].every((state) => state === 'live')
  const tails = partitions.map((partition) =>
    createPartitionTail({
      ...options,
      checkMs,
      wants,
      onRead,
      partition,
      onState(state) {
        const before = isLive()
        states.set(partition, state)
        if (before !== isLive()) onState?.(isLive())
      },
    }),
  )
  let running: Promise<void>[] = []
  return {
    start() {
      if (running.length > 0) return
      running = tails.map((tail) => tail.run())
    },
    async close() {
      for (const tail of tails) tail.close()
      await Promise.all(running)
    },
    connected: () => [...states.values()].every((state) => state !== 'away'),
    live: isLive,
  }
}
