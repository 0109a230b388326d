import type { TestProject } from 'vitest/node'
import { throwAwayFolder } from '../folders.ts'
import { startMongodb, startRedis } from '../stores/index.ts'
import type {} from './provided.ts'

/** Starts the stores of a test run once, whichever projects take part, and removes them with all they kept. */
export default async function setup(project: TestProject): Promise<(() => Promise<void>) | undefined> {
  if (!project.isRootProject()) return undefined
  const folder = await throwAwayFolder()
  const log = (line: string) => process.stderr.write(`${line}\n`)
  const [mongodb, redis] = await Promise.all([
    startMongodb({ dataDir: folder.path, database: '', log }),
    startRedis({ dataDir: folder.path, log }),
  ])
  project.provide('mongodbUri', mongodb.uri)
  project.provide('redisUrl', redis.url)
  return async () => {
    await Promise.all([...mongodb.processes, redis.process].map((store) => store.destroy()))
    await folder.remove()
  }
}
