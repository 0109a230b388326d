import type { Redis } from 'ioredis'

/** Sends the commands of this turn of the event loop in one piece: a system call costs more than a command. */
export function inOneWrite({ stream }: Redis): void {
  if (!stream || stream.writableCorked > 0) return
  stream.cork()
  setImmediate(() => stream.uncork())
}
