import { startStack } from '@parley/devstack'
import { MongoClient, ObjectId } from 'mongodb'
import { createChats, sendLoop } from '../harness/chats.ts'
import { closedLoop, createHttpClient } from '../harness/load.ts'
import { cpuMs, inPairs } from '../harness/measure.ts'
import type { Cell, Row } from '../harness/report.ts'
import { startRival } from '../harness/rival.ts'

const WINDOW_MS = 1_000
const SENDERS = [1, 16, 64, 256]

/** Creates per second by REST, against a minimal route and against a loop of insertOne. */
export const row: Row = {
  id: 'B6',
  title: 'creates per second by REST',
  async *run({ full }) {
    const stack = await startStack({
      gateways: 0,
      workers: 0,
      env: { RATE_LIMIT_REST: '0', RATE_LIMIT_SEND: '0' },
    })
    const rival = await startRival('minimal-rest', {
      MONGODB_URI: stack.mongodbUri,
      REDIS_URL: stack.redisUrl,
      JWT_SECRET: stack.jwtSecret,
    })
    const own = createHttpClient(stack.apiUrl, 256)
    const other = createHttpClient(`http://127.0.0.1:${rival.port}`, 256)
    const mongo = await new MongoClient(stack.mongodbUri, {
      writeConcern: { w: 'majority', journal: true },
    }).connect()
    const db = mongo.db()
    try {
      for (const conversations of full ? [1, 64, 4_000] : [1, 64, 1_024]) {
        const chats = await createChats(own, stack, 256, conversations)
        await db.collection('rivalConversations').insertMany(
          chats.ids.map((id, index) => ({
            _id: new ObjectId(id),
            org: 'bench',
            status: 'active',
            members: chats.members(index).map((sender) => `sender-${sender}`),
          })),
        )
        for (const senders of SENDERS) {
          let cpu = { parley: 0, rival: 0 }
          const apiPid = stack.pids['api-0'] ?? 0
          const timed = async (side: 'parley' | 'rival') => {
            const pid = side === 'parley' ? apiPid : rival.pid
            const before = cpuMs([pid])
            const { perSecond, latencies } = await sendLoop(
              side === 'parley' ? own : other,
              chats,
              senders,
              WINDOW_MS,
            )
            cpu = { ...cpu, [side]: ((cpuMs([pid]) - before) * 1_000) / latencies.length }
            return perSecond
          }
          const {
            ratio,
            parley,
            rival: theirs,
          } = await inPairs(
            () => timed('parley'),
            () => timed('rival'),
          )
          const bar = senders === 1 ? { atLeast: 0.85 } : senders >= 64 ? { atLeast: 2.5 } : undefined
          yield {
            name: `${senders} senders into ${conversations}, to a minimal route`,
            figure: ratio,
            ...(bar ? { bar } : {}),
            note: `${parley.median.toFixed(0)}/s to ${theirs.median.toFixed(0)}/s, ${cpu.parley.toFixed(0)} to ${cpu.rival.toFixed(0)} µs of its process each`,
          }
        }
        if (conversations === 64) yield await againstRawInserts(own, chats, db)
      }
    } finally {
      await mongo.close()
      await Promise.all([own.close(), other.close()])
      await rival.close()
      await stack.close()
    }
  },
}

async function againstRawInserts(
  own: ReturnType<typeof createHttpClient>,
  chats: Awaited<ReturnType<typeof createChats>>,
  db: ReturnType<MongoClient['db']>,
): Promise<Cell> {
  const raw = db.collection('rivalMessages')
  const cid = new ObjectId()
  let seq = 0
  const { ratio, parley, rival } = await inPairs(
    async () => (await sendLoop(own, chats, 64, WINDOW_MS)).perSecond,
    async () =>
      (
        await closedLoop(64, WINDOW_MS, async (sender) => {
          await raw.insertOne({
            cid,
            org: 'bench',
            seq: ++seq,
            author: `user:sender-${sender}`,
            role: 'user',
            type: 'text',
            status: 'sent',
            content: 'x'.repeat(120),
            clientMessageId: `raw-${seq}`,
            createdAt: new Date(),
          })
        })
      ).perSecond,
  )
  return {
    name: '64 senders into 64, to a raw insertOne loop (aim)',
    figure: ratio,
    bar: { atLeast: 1 },
    note: `${parley.median.toFixed(0)}/s to ${rival.median.toFixed(0)}/s`,
  }
}
