import { setTimeout as delay } from 'node:timers/promises'
import { openRawSocket, type RawSocket } from '../support/raw-socket.ts'
import { openSocket } from '../support/socket.ts'
import { type Bed, startBed } from './bed.ts'
import { startBystanders } from './bystanders.ts'
import { percentile, type Row } from './row.ts'

/** Per minute, events per second; low, so that ten times as much is no load by itself. */
const LIMITS = { send: 300, rest: 600, events: 20, connect: 120 }
/** Between two lines of those who keep to the limits. */
const REST_MS = 250
const TICK_MS = 20
/** Of one kind of call under way at once. */
const MAX_OPEN = 100
/** A slow machine comes to the limits later. */
const MAX_LATE_MS = 20_000
/** How much longer than in peace others may wait (p99). */
const MAX_SLOWDOWN = 2

export const startLimitedBed = (): Promise<Bed> =>
  startBed({
    env: {
      RATE_LIMIT_SEND: `${LIMITS.send}`,
      RATE_LIMIT_REST: `${LIMITS.rest}`,
      RATE_LIMIT_EVENTS: `${LIMITS.events}`,
      RATE_LIMIT_CONNECT: `${LIMITS.connect}`,
    },
  })

/** What became of one call: it was done, refused as it should be, or something else, which is said. */
type Outcome = 'done' | 'refused' | (string & {})

interface Greed {
  kind: keyof typeof LIMITS
  call(): Promise<Outcome>
}

const ofAnswer = (response: Response): Outcome => {
  if (response.ok) return 'done'
  const isTold = Number(response.headers.get('retry-after')) > 0
  return (response.status === 429 || response.status === 503) && isTold ? 'refused' : `${response.status}`
}

export const d4: Row<{ quietMs: number; floodMs: number; times: number; timed?: boolean }, Bed> = {
  name: 'D4',
  title: 'one person asks for many times what the limits allow',
  short: { quietMs: 500, floodMs: 2_000, times: 40 },
  full: (minutes) => ({
    quietMs: 30_000,
    floodMs: Math.min(300_000, minutes * 60_000),
    times: 10,
    timed: true,
  }),
  async run(bed, { random, size, log }) {
    const faults: string[] = []
    const prefix = `greed${random.int(0, 1e9)}`
    const talkers = [`${prefix}-a`, `${prefix}-b`] as const
    const greedy = `${prefix}-greedy`
    const own = await bed.conversation([greedy])
    const bystanders = await startBystanders(bed, await bed.conversation(talkers), talkers, REST_MS)
    const talkFor = async (ms: number) => {
      bystanders.talk()
      await delay(ms)
      return bystanders.stop()
    }
    log('in peace')
    const before = await talkFor(size.quietMs)

    const socket = await openRawSocket(bed.gatewayUrls[0] ?? '', bed.token(greedy))
    const tally = new Map(
      greedOf(bed, greedy, own, socket).map((greed) => [greed, new Map<Outcome, number>()]),
    )
    log(`${size.times} times the limits`)
    const begun = performance.now()
    const flood = Promise.all(
      [...tally].map(([{ kind, call }, outcomes]) => {
        const perSecond = (LIMITS[kind] * size.times) / (kind === 'events' ? 1 : 60)
        return overdo(call, outcomes, perSecond, size.floodMs)
      }),
    )
    const during = await talkFor(size.floodMs)
    await flood
    const tookMs = performance.now() - begun
    socket.close()
    faults.push(...(await bystanders.faults()))
    await bystanders.close()

    const figures: Record<string, number> = {}
    for (const [{ kind }, outcomes] of tally) {
      const done = outcomes.get('done') ?? 0
      const refused = outcomes.get('refused') ?? 0
      figures[`${kind} done`] = done
      figures[`${kind} refused`] = refused
      if (done > mostDone(kind, tookMs)) faults.push(`${done} of ${kind} were let through`)
      if (refused === 0) faults.push(`no ${kind} was refused`)
      for (const [outcome, count] of outcomes) {
        if (outcome !== 'done' && outcome !== 'refused')
          faults.push(`${count} of ${kind} ended with ${outcome}`)
      }
    }
    for (const what of ['acks', 'arrivals'] as const) {
      const [peace, now] = [percentile(before[what], 0.99), percentile(during[what], 0.99)]
      figures[`${what} p99 in peace`] = peace
      figures[`${what} p99`] = now
      if (during[what].length === 0) faults.push(`nobody else had ${what}`)
      if (size.timed && now > peace * MAX_SLOWDOWN) faults.push(`others' ${what}: ${peace} → ${now} ms (p99)`)
    }
    return { faults, figures }
  },
}

/** A limit counts in windows of a minute, one more than there are minutes; events have ten seconds' worth of credit. */
function mostDone(kind: Greed['kind'], forMs: number): number {
  if (kind === 'events') return LIMITS.events * (forMs / 1_000 + 10 + 1)
  return LIMITS[kind] * (Math.ceil(forMs / 60_000) + 1)
}

/** What one person can ask for too often, each by the way that it is counted. */
function greedOf(bed: Bed, name: string, conversationId: string, socket: RawSocket): Greed[] {
  const token = bed.token(name)
  const headers = { authorization: `Bearer ${token}` }
  const [api, gateway] = [bed.apiUrls[0] ?? '', bed.gatewayUrls[0] ?? '']
  return [
    {
      kind: 'send',
      call: async () => {
        const body = JSON.stringify({ conversationId, role: 'user', content: 'more' })
        const json = { ...headers, 'content-type': 'application/json' }
        return ofAnswer(await fetch(`${api}/messages`, { method: 'POST', headers: json, body }))
      },
    },
    {
      kind: 'rest',
      call: async () => ofAnswer(await fetch(`${api}/conversations/${conversationId}`, { headers })),
    },
    {
      kind: 'events',
      call: async () => {
        const { ok, error } = await socket.request('conversation:leave', { conversationId })
        if (ok) return 'done'
        const { code } = error as { code: string }
        return code === 'rate_limited' ? 'refused' : code
      },
    },
    {
      kind: 'connect',
      call: () =>
        openSocket(gateway, token).then(
          (opened) => {
            opened.disconnect()
            return 'done'
          },
          ({ data, message }: Error & { data?: { code: string; reconnectAfterMs?: number } }) =>
            data?.code === 'overloaded' && Number(data.reconnectAfterMs) > 0 ? 'refused' : message,
        ),
    },
  ]
}

/** Calls so often a second, for so long and until it is refused; resolves when all are answered. */
async function overdo(
  call: Greed['call'],
  outcomes: Map<Outcome, number>,
  perSecond: number,
  forMs: number,
): Promise<void> {
  const open = new Set<Promise<void>>()
  const begun = performance.now()
  const isOver = (now: number) => now > forMs && (outcomes.has('refused') || now > forMs + MAX_LATE_MS)
  for (let called = 0, now = 0; !isOver(now); now = performance.now() - begun) {
    for (; called < (now * perSecond) / 1_000 && open.size < MAX_OPEN; called++) {
      const one = call()
        .catch((error: unknown) => String(error))
        .then((outcome) => {
          outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
          open.delete(one)
        })
      open.add(one)
    }
    await delay(TICK_MS)
  }
  await Promise.all(open)
}
