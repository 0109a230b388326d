import { Redis } from 'ioredis'

/** The least that a reader of the streams can do: XREAD, and count what came. Prints the count when asked for it. */
const url = process.env.REDIS_URL ?? ''
let count = 0

async function read(stream: string): Promise<void> {
  const redis = new Redis(url)
  for (let cursor = '$'; ; ) {
    const reply = await redis.xread('COUNT', 500, 'BLOCK', 1_000, 'STREAMS', stream, cursor)
    for (const [, entries] of reply ?? []) {
      count += entries.length
      cursor = entries.at(-1)?.[0] ?? cursor
    }
  }
}

for (const partition of [0, 1, 2, 3]) void read(`events:{${partition}}`)
process.stdout.write('0\n')
process.stdin.on('data', () => process.stdout.write(`${count}\n`))
process.stdin.on('end', () => process.exit(0))
