import { setTimeout as delay } from 'node:timers/promises'
import { MongoClient } from 'mongodb'
import type { Member } from '../support/member.ts'
import { until } from '../support/until.ts'
import { type Bed, startBed } from './bed.ts'
import { type ChatStep, runChat } from './chat.ts'
import type { Row } from './row.ts'

/** A bed on a replica set of three. */
export const startReplicatedBed = (): Promise<Bed> => startBed({ mongoMembers: 3, gateways: 1, workers: 0 })

interface Members {
  primary: string
  secondaries: string[]
}

async function withAdmin<T>(bed: Bed, use: (client: MongoClient) => Promise<T>): Promise<T> {
  const client = new MongoClient(bed.stack.mongodbUri, { serverSelectionTimeoutMS: 15_000 })
  try {
    return await use(client)
  } finally {
    await client.close()
  }
}

/** Names of the processes by what they are now; waits until all three are there. */
function members(bed: Bed): Promise<Members> {
  let last = 'no answer'
  return until(
    () =>
      withAdmin(bed, async (client) => {
        const status = await client.db('admin').command({ replSetGetStatus: 1 })
        const states: string[] = status.members.map(({ stateStr }: { stateStr: string }) => stateStr)
        last = states.join(', ')
        const named = (state: string) =>
          states.flatMap((is, index) => (is === state ? [`mongod-${index}`] : []))
        const [primary] = named('PRIMARY')
        const secondaries = named('SECONDARY')
        return primary && secondaries.length === states.length - 1 ? { primary, secondaries } : null
      }).catch((error: unknown) => {
        last = String(error)
        return null
      }),
    { timeoutMs: 60_000, everyMs: 200, what: () => `a primary with its secondaries, and not ${last}` },
  )
}

const DISASTERS: Record<string, (bed: Bed) => Promise<void>> = {
  async 'primary killed'(bed) {
    const { primary } = await members(bed)
    await bed.stack.kill(primary)
    await delay(200)
    await bed.stack.start(primary)
  },
  /** What it takes to lose what is on the primary alone: nobody copies it any more, then it dies. */
  async 'primary killed while it was alone'(bed) {
    const { primary, secondaries } = await members(bed)
    await Promise.all(secondaries.map((name) => bed.stack.kill(name)))
    // Less than the two seconds after which a primary that sees no majority gives up.
    await delay(1_000)
    await bed.stack.kill(primary)
    // The others elect one of themselves before it is back.
    await Promise.all(secondaries.map((name) => bed.stack.start(name)))
    await delay(500)
    await bed.stack.start(primary)
  },
  async 'primary stepped down'(bed) {
    await withAdmin(bed, (client) =>
      // It closes its connections, this one too.
      client
        .db('admin')
        .command({ replSetStepDown: 10, secondaryCatchUpPeriodSecs: 1 })
        .catch(() => undefined),
    )
  },
  async 'primary paused'(bed) {
    const { primary } = await members(bed)
    bed.stack.pause(primary)
    await delay(5_000)
    bed.stack.resume(primary)
  },
}

/** A send that takes longer (ms) is not back to normal, also on a machine that has other work. */
const FAST_MS = 1_000

/** The slowest (ms) of twenty sends, one after the other. */
async function slowestOf(sender: Member, name: string): Promise<number> {
  let slowest = 0
  for (let n = 0; n < 20; n++) {
    const { tookMs } = await sender.send(`around ${name}`, `${name}-${n}`)
    slowest = Math.max(slowest, tookMs)
  }
  return Math.round(slowest)
}

/**
 * Waits until the set is whole and its preferred member is primary again: it takes over from whoever was elected, which
 * is a change of primary of its own and a part of the disaster.
 */
const preferredBack = (bed: Bed): Promise<boolean> =>
  until(async () => (await members(bed)).primary === 'mongod-0', {
    timeoutMs: 60_000,
    everyMs: 200,
    what: 'the preferred primary is back',
  })

/**
 * Ten seconds after the end of each disaster sends are fast again; how fast they were right before it is told beside.
 */
function disaster(bed: Bed, name: string, log: (line: string) => void): ChatStep {
  return async (chat) => {
    const sender = chat.rooms[0]?.members[0]
    if (!sender) return
    const key = `${name}-${performance.now()}`
    const before = await slowestOf(sender, `before ${key}`)
    await DISASTERS[name]?.(bed)
    await preferredBack(bed)
    await delay(10_000)
    const after = await slowestOf(sender, `after ${key}`)
    log(`${name}: of 20 sends the slowest ${before} ms before, ${after} ms ten seconds later`)
    if (after > FAST_MS) {
      chat.faults.push(`${name}: a send took ${after} ms 10 s later, ${before} ms before`)
    }
  }
}

export const r2: Row<{ times: number; messages: number }, Bed> = {
  name: 'R2',
  title: 'three mongods: the primary is killed, cut off, stepped down, paused',
  short: { times: 1, messages: 200 },
  full: (minutes) => ({ times: Math.max(4, minutes * 2), messages: Math.max(800, minutes * 800) }),
  async run(bed, { random, size, log }) {
    const names = Object.keys(DISASTERS)
    const chosen = ['primary killed while it was alone', ...random.shuffle(names)]
    while (chosen.length < size.times) chosen.push(random.pick(names))
    const { faults, figures } = await runChat(bed, {
      rooms: 4,
      members: ['sdk', 'bare', 'sdk'],
      messages: size.messages,
      throughout: 50,
      lanes: 2,
      steps: chosen.slice(0, size.times).map((name) => disaster(bed, name, log)),
      settleMs: 15_000,
    })
    return { faults, figures }
  },
}
