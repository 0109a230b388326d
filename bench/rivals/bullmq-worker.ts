/**
 * A BullMQ worker as one would write it: takes a job, asks the api for the messages, writes a summary of the same size
 * with the same two calls, at the same concurrency. Its summary is the messages' beginnings: no language is looked at.
 */
import { Worker } from 'bullmq'
import { Redis } from 'ioredis'
import { Pool } from 'undici'

const { REDIS_URL = '', API_URL = '', SERVICE_TOKEN = '', QUEUE = '', CONCURRENCY = '4' } = process.env
const pool = new Pool(API_URL, { connections: Number(CONCURRENCY) * 2 })

interface Work {
  state: string
  coversSeq: number
  contentRev: number
  throughSeq: number
  previousSeq: number
  messages: { seq: number; author: string; content: string }[]
}

async function call<T>(path: string, body: unknown): Promise<T> {
  const answer = await pool.request({
    method: 'POST',
    path,
    headers: { authorization: `Bearer ${SERVICE_TOKEN}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  const text = await answer.body.text()
  if (answer.statusCode !== 200) throw new Error(`${path}: ${answer.statusCode} ${text.slice(0, 200)}`)
  return JSON.parse(text) as T
}

const worker = new Worker<{ conversationId: string }>(
  QUEUE,
  async ({ data: { conversationId } }) => {
    for (;;) {
      const work = await call<Work>('/internal/summaries/read', { conversationId })
      if (work.state !== 'ready') return
      const { coversSeq, contentRev, throughSeq, previousSeq, messages } = work
      await call('/internal/summaries/write', {
        conversationId,
        coversSeq,
        contentRev,
        throughSeq,
        previousSeq,
        text: messages.map(({ author, content }) => `- ${author}: ${content.slice(0, 150)}`).join('\n'),
        notes: messages.map(({ seq, author, content }) => ({
          seq,
          author,
          text: content.slice(0, 150),
          weight: 1,
        })),
        source: 'extractive',
        model: null,
        usage: null,
      })
    }
  },
  {
    connection: new Redis(REDIS_URL, { maxRetriesPerRequest: null }),
    concurrency: Number(CONCURRENCY),
    maxStalledCount: 10,
    removeOnComplete: { count: 0 },
  },
)
worker.on('error', (error) => process.stderr.write(`${error}\n`))
await worker.waitUntilReady()
process.stdout.write('0\n')
process.stdin.resume()
process.stdin.on('end', () => process.exit(0))
