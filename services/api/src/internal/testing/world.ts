import type { Caller } from '@parley/contract'
import { createPublisher } from '@parley/events'
import { createLogger } from '@parley/service-kit'
import { Redis } from 'ioredis'
import { ObjectId } from 'mongodb'
import { connectDatabase } from '../../database/client.ts'
import { createServices } from '../../services.ts'

export const logger = createLogger({ name: 'test', level: 'silent' })

export const callerOf = (id: string, more: Partial<Caller> = {}): Caller => ({
  type: 'user',
  id,
  orgId: 'acme',
  roles: [],
  name: null,
  picture: null,
  ...more,
})
export const ada = callerOf('ada')
export const bob = callerOf('bob')

/** All services of an api on a throw-away database, without background work. */
export async function openServices(mongodbUri: string, redisUrl: string) {
  const redis = new Redis(redisUrl)
  const uri = new URL(mongodbUri)
  uri.pathname = `/internal-${new ObjectId().toHexString()}`
  const database = await connectDatabase(uri.href, { monitorCommands: true })
  const services = await createServices({
    database,
    publisher: createPublisher({ redis, logger }),
    redis,
    queueRedis: redis,
    logger,
    prices: {},
    hopLimit: 8,
    reconcileMs: 60_000,
  })
  return {
    database,
    services,
    async close(): Promise<void> {
      await services.close()
      await database.db.dropDatabase()
      await database.close()
      redis.disconnect()
    },
  }
}
