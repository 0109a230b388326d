import { setTimeout as delay } from 'node:timers/promises'
import { createProxy, type FaultProxy, freePort, startStack } from '@parley/devstack'
import { type Bed, makeBed, UNLIMITED } from './bed.ts'
import { runChat } from './chat.ts'
import type { Row } from './row.ts'

/** A bed with a proxy in each link: of clients, between services, and to the stores. */
export interface LinkedBed extends Bed {
  links: Record<string, FaultProxy>
}

export async function startLinkedBed(): Promise<LinkedBed> {
  const [mongod, redis, api, gateway] = [
    await freePort(),
    await freePort(),
    await freePort(),
    await freePort(),
  ]
  const links = {
    'client → api': await createProxy(api),
    'client → gateway': await createProxy(gateway),
    'gateway → api': await createProxy(api),
    'worker → api': await createProxy(api),
    'api → mongod': await createProxy(mongod),
    'api → redis': await createProxy(redis),
    'gateway → redis': await createProxy(redis),
    'worker → redis': await createProxy(redis),
  }
  const url = (name: keyof typeof links, scheme = 'http') => `${scheme}://127.0.0.1:${links[name].port}`
  const stack = await startStack({
    mongodPort: mongod,
    redisPort: redis,
    apiPort: api,
    gatewayPort: gateway,
    env: UNLIMITED,
    serviceEnv: {
      api: {
        // Not by the replica set's own list of members, which knows nothing of the proxy.
        MONGODB_URI: `${url('api → mongod', 'mongodb')}/parley?directConnection=true`,
        REDIS_URL: url('api → redis', 'redis'),
      },
      gateway: { API_URL: url('gateway → api'), REDIS_URL: url('gateway → redis', 'redis') },
      worker: { API_URL: url('worker → api'), REDIS_URL: url('worker → redis', 'redis') },
    },
  })
  const bed = makeBed(stack, [url('client → api')], [url('client → gateway')], async () => {
    await stack.close()
    await Promise.all(Object.values(links).map((link) => link.close()))
  })
  return { ...bed, links }
}

const TROUBLES = ['cut', 'stall', 'halfClose', 'strand'] as const

export const r3: Row<{ rounds: number; messages: number; downMs: [number, number] }, LinkedBed> = {
  name: 'R3',
  title: 'each link is cut, stalled, half-closed and stranded',
  short: { rounds: 1, messages: 300, downMs: [100, 500] },
  full: (minutes) => ({
    rounds: Math.max(1, Math.round(minutes / 4)),
    messages: Math.max(500, minutes * 600),
    downMs: [100, 6_000],
  }),
  async run(bed, { random, size, log }) {
    const pids = JSON.stringify(bed.stack.pids)
    const cases = Array.from({ length: size.rounds }, () =>
      Object.entries(bed.links).flatMap(([name, link]) =>
        TROUBLES.map((trouble) => ({ name, link, trouble })),
      ),
    )
    const { faults, figures } = await runChat(bed, {
      rooms: 2,
      members: ['sdk', 'bare', 'sdk'],
      messages: size.messages,
      lanes: 2,
      steps: random.shuffle(cases.flat()).map(({ name, link, trouble }) => async () => {
        const down = random.int(...size.downMs)
        log(`${trouble} ${name} for ${down} ms`)
        link[trouble]()
        await delay(down)
        link.heal()
      }),
      settleMs: 20_000,
    })
    if (JSON.stringify(bed.stack.pids) !== pids) faults.push('a process died')
    return { faults, figures }
  },
}
