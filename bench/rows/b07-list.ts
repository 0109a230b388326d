import { MongoClient, ObjectId } from 'mongodb'
import { closedLoop, createHttpClient } from '../harness/load.ts'
import { inPairs } from '../harness/measure.ts'
import type { Row } from '../harness/report.ts'
import { startRival } from '../harness/rival.ts'
import { fillConversation } from '../harness/seed.ts'
import { startSolo } from '../harness/solo.ts'

const WINDOW_MS = 1_000
const READERS = 16

/** Pages of 50 messages per second, against the rows as MongoDB gives them. */
export const row: Row = {
  id: 'B7',
  title: 'list 50',
  async *run() {
    const solo = await startSolo()
    const rival = await startRival('minimal-rest', {
      MONGODB_URI: solo.stack.mongodbUri,
      REDIS_URL: solo.stack.redisUrl,
      JWT_SECRET: solo.stack.jwtSecret,
    })
    const other = createHttpClient(`http://127.0.0.1:${rival.port}`, READERS)
    const mongo = await new MongoClient(solo.stack.mongodbUri).connect()
    try {
      const id = await solo.conversation()
      await fillConversation(solo.stack.mongodbUri, id, 1_000)
      const cid = new ObjectId(id)
      const rows = await mongo.db().collection('messages').find({ cid }).toArray()
      await mongo.db().collection('rivalMessages').insertMany(rows)
      const {
        ratio,
        parley,
        rival: theirs,
      } = await inPairs(
        async () =>
          (
            await closedLoop(
              READERS,
              WINDOW_MS,
              async () => void (await solo.get(`/messages/conversation/${id}`)),
            )
          ).perSecond,
        async () =>
          (
            await closedLoop(READERS, WINDOW_MS, async () => {
              await other.call('GET', `/messages/${id}`, solo.token, undefined, 200)
            })
          ).perSecond,
      )
      yield {
        name: `${READERS} readers, to a bare find`,
        figure: ratio,
        bar: { atLeast: 0.7 },
        note: `${parley.median.toFixed(0)}/s to ${theirs.median.toFixed(0)}/s`,
      }
    } finally {
      await mongo.close()
      await other.close()
      await rival.close()
      await solo.close()
    }
  },
}
