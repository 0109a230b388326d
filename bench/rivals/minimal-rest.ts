/**
 * What one would write by hand in an afternoon, with the same durability: a token check, a schema, one find, one
 * insertOne on a majority, one XADD. The same indexes, the same list of 50. Numbers come from memory, which only one
 * process at a time can do.
 */
import fastifyJwt from '@fastify/jwt'
import fastify from 'fastify'
import { Redis } from 'ioredis'
import { MongoClient, ObjectId } from 'mongodb'

const { MONGODB_URI = '', REDIS_URL = '', JWT_SECRET = '' } = process.env
const mongo = await new MongoClient(MONGODB_URI, {
  readConcern: { level: 'majority' },
  writeConcern: { w: 'majority', journal: true },
  maxPoolSize: 64,
}).connect()
const redis = new Redis(REDIS_URL)
const db = mongo.db()
const conversations = db.collection('rivalConversations')
const messages = db.collection('rivalMessages')
await messages.createIndex({ cid: 1, seq: 1 }, { unique: true })
await messages.createIndex(
  { cid: 1, author: 1, clientMessageId: 1 },
  { unique: true, partialFilterExpression: { clientMessageId: { $exists: true } } },
)

const app = fastify()
await app.register(fastifyJwt, { secret: JWT_SECRET, verify: { cache: true } })
app.addHook('onRequest', (request) => request.jwtVerify())
const last = new Map<string, number>()

app.post<{ Body: { conversationId: string; role: string; content: string; clientMessageId?: string } }>(
  '/messages',
  {
    schema: {
      body: {
        type: 'object',
        additionalProperties: false,
        required: ['conversationId', 'role', 'content'],
        properties: {
          conversationId: { type: 'string', pattern: '^[0-9a-f]{24}$' },
          role: { type: 'string', enum: ['user', 'assistant', 'system', 'tool'] },
          content: { type: 'string', maxLength: 65_536 },
          clientMessageId: { type: 'string', maxLength: 128 },
        },
      },
    },
  },
  async (request, reply) => {
    const { conversationId, role, content, clientMessageId } = request.body
    const { sub } = request.user as { sub: string }
    const cid = new ObjectId(conversationId)
    const head = await conversations.findOne({ _id: cid, members: sub }, { projection: { status: 1 } })
    if (head?.status !== 'active') return reply.code(404).send({ code: 'not_found' })
    const seq = (last.get(conversationId) ?? 0) + 1
    last.set(conversationId, seq)
    const row = {
      _id: new ObjectId(),
      cid,
      org: 'bench',
      seq,
      author: `user:${sub}`,
      role,
      type: 'text',
      status: 'sent',
      content,
      ...(clientMessageId === undefined ? {} : { clientMessageId }),
      createdAt: new Date(),
    }
    await messages.insertOne(row)
    const answer = JSON.stringify({ ...row, id: row._id.toHexString(), conversationId })
    await redis.xadd('rival:events', 'MAXLEN', '~', 10_000, '*', 'cid', conversationId, 'data', answer)
    return reply.code(201).type('application/json').send(answer)
  },
)

app.get<{ Params: { id: string } }>('/messages/:id', async (request) =>
  messages
    .find({ cid: new ObjectId(request.params.id) })
    .sort({ seq: -1 })
    .limit(50)
    .toArray(),
)

await app.listen({ port: 0, host: '127.0.0.1' })
const address = app.server.address()
process.stdout.write(`${typeof address === 'object' && address ? address.port : ''}\n`)
const end = async () => {
  await app.close()
  redis.disconnect()
  await mongo.close()
  process.exit(0)
}
process.stdin.on('end', end).resume()
process.on('SIGTERM', end)
