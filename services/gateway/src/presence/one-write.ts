import type { Redis } from 'ioredis'

/** Commands of this turn of the event loop go out in one piece: a system call costs more than a command. */
export function inOneWrite({ stream }: Redis): void {
  if (!stream || stream.writableCorked > 0) return
  stream.cork()
  setImmediate(() => stream.uncork())
}
