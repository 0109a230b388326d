import type { ClientEvent } from '@parley/contract'
import { type Stack, startStack } from '@parley/devstack'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import {
  all,
  CALLERS,
  type Callers,
  createCallers,
  everyone,
  insiders,
  isAgent,
  messageRole,
  NOTHING,
  outsiders,
  rule,
  type Scene,
  verdictOf,
  type Who,
} from '../support/callers.ts'
import { createHttp } from '../support/http.ts'
import { type Listener, listen } from '../support/listener.ts'
import { createRest, type Rest } from '../support/rest.ts'
import { until } from '../support/until.ts'

/** A scene in which the agent is streaming an answer. */
interface Talk extends Scene {
  answerId: string
}
const NO_TALK: Talk = { ...NOTHING, answerId: 'f'.repeat(24) }
/** The key of every talk's answer. */
const ANSWER = 'answer'

let stack: Stack
let rest: Rest
let callers: Callers
const sockets = new Map<Who, Listener>()
/** Another socket of `member`, who listens. */
let ear: Listener

beforeAll(async () => {
  stack = await startStack({
    workers: 0,
    mongodbUri: inject('mongodbUri'),
    env: { RATE_LIMIT_REST: '0', RATE_LIMIT_SEND: '0', RATE_LIMIT_EVENTS: '0', AGENT_HOP_LIMIT: '100' },
  })
  rest = await createRest(stack.apiUrl)
  callers = createCallers(stack, rest)
  const connect = (who: Who) => listen(stack.gatewayUrls[0] ?? '', callers.tokenOf(who) ?? '')
  for (const who of all) sockets.set(who, await connect(who))
  ear = await connect('member')
})
afterAll(async () => {
  for (const socket of [...sockets.values(), ear]) socket.close()
  await stack?.close()
})

function socketOf(who: Who): Listener {
  const socket = sockets.get(who)
  if (!socket) throw new Error(`${who} has no socket`)
  return socket
}

/** An acknowledgement; a busy machine's says nothing, and is asked for again. */
const ask = (who: Who, event: ClientEvent, payload: object) =>
  until(
    async () => {
      const answer = await socketOf(who).ask(event, payload)
      return answer.error?.code === 'overloaded' ? null : answer
    },
    { everyMs: 500 },
  )
type Answer = Awaited<ReturnType<typeof ask>>
const outcomeOf = ({ ok, error }: Answer): string => (ok ? 'ok' : (error?.code ?? 'nothing'))
/** To the byte, but for the request's id. */
const textOf = (answer: object): string =>
  JSON.stringify(answer).replace(/"requestId":"[^"]*"/, '"requestId":""')

async function talk(): Promise<Talk> {
  const scene = await callers.scene()
  const { conversationId } = scene
  const start = { op: 'start', conversationId, clientMessageId: ANSWER } as const
  const { messageId = '' } = await socketOf('agent').sure('message:stream', start)
  const token = callers.tokenOf('agent')
  await rest.must('POST', `/conversations/${conversationId}/read`, { token, body: { seq: 2 } })
  return { ...scene, answerId: messageId }
}

/** Listens in the talk's room; gives back a way to ask what was heard until now. */
async function eavesdrop({ conversationId, answerId }: Talk): Promise<() => Promise<string[]>> {
  await ear.sure('conversation:join', { conversationId })
  await ear.first('user:joined', { conversationId })
  await ear.first('message:stream', { messageId: answerId, op: 'snapshot' })
  const from = ear.heard.length
  return async () => {
    // What is stored and what is not come by different ways: the last of each says that all before has come.
    const token = callers.tokenOf('owner')
    await rest.must('PUT', `/conversations/${conversationId}`, { token, body: { title: 'That was all' } })
    const last = { op: 'delta', messageId: answerId, index: 0, text: '.' } as const
    await socketOf('agent').sure('message:stream', last)
    await ear.first('conversation:updated', { conversationId })
    await ear.first('message:stream', { messageId: answerId, op: 'delta' })
    return ear.heard
      .slice(from)
      .filter(({ payload }) => !('conversationId' in payload) || payload.conversationId === conversationId)
      .map(({ event }) => event)
      .filter((event) => event !== 'conversation:added')
      .sort()
  }
}
const THE_LAST = ['conversation:updated', 'message:stream']

interface Call {
  event: ClientEvent
  payload: (talk: Talk, who: Who) => object
  verdict: (who: Who) => string
}

const allowed = (...who: readonly Who[]) => {
  const given = rule(...who)
  return (one: Who) => verdictOf(given, one)
}
const here = ({ conversationId }: Talk) => ({ conversationId })

const CALLS: Record<string, Call> = {
  join: { event: 'conversation:join', payload: here, verdict: allowed(...insiders) },
  'join from a seq': {
    event: 'conversation:join',
    payload: (t) => ({ ...here(t), afterSeq: 0 }),
    verdict: allowed(...insiders),
  },
  'join from a seq and a change': {
    event: 'conversation:join',
    payload: (t) => ({ ...here(t), afterSeq: 1, afterChangeSeq: 0 }),
    verdict: allowed(...insiders),
  },
  leave: { event: 'conversation:leave', payload: here, verdict: () => 'ok' },
  'ask who is there': { event: 'conversation:online', payload: here, verdict: allowed(...insiders) },
  send: {
    event: 'message:send',
    payload: (t, who) => ({ ...here(t), role: messageRole(who), content: 'hello' }),
    verdict: allowed('owner', 'member', 'agent'),
  },
  'answer in a thread': {
    event: 'message:send',
    payload: (t, who) => ({ ...here(t), parentId: t.messageId, role: messageRole(who), content: 'hello' }),
    verdict: allowed('owner', 'member', 'agent'),
  },
  'read up to a seq': {
    event: 'message:read',
    payload: (t) => ({ ...here(t), seq: 1 }),
    verdict: allowed('owner', 'member', 'observer', 'agent', 'adminObserver'),
  },
  'read up to a message': {
    event: 'message:read',
    payload: (t) => ({ ...here(t), messageId: t.messageId }),
    verdict: allowed('owner', 'member', 'observer', 'agent', 'adminObserver'),
  },
  'type outside the room': {
    event: 'message:typing',
    payload: (t) => ({ ...here(t), isTyping: true }),
    verdict: () => 'forbidden',
  },
  'start an answer': {
    event: 'message:stream',
    payload: (t, who) => ({ op: 'start', ...here(t), clientMessageId: `of ${who}` }),
    verdict: (who) => (isAgent(who) ? allowed('agent')(who) : 'role_not_allowed'),
  },
  'take up the answer': {
    event: 'message:stream',
    payload: (t) => ({ op: 'start', ...here(t), clientMessageId: ANSWER }),
    verdict: (who) => (isAgent(who) ? allowed('agent')(who) : 'role_not_allowed'),
  },
  'go on with the answer': {
    event: 'message:stream',
    payload: (t) => ({ op: 'delta', messageId: t.answerId, index: 0, text: 'Well, ' }),
    verdict: (who) => (who === 'agent' ? 'ok' : 'conflict'),
  },
  'end the answer': {
    event: 'message:stream',
    payload: (t) => ({ op: 'end', messageId: t.answerId, content: 'That is so.' }),
    verdict: allowed('agent'),
  },
  'give up the answer': {
    event: 'message:stream',
    payload: (t) => ({ op: 'abort', messageId: t.answerId }),
    verdict: allowed('agent'),
  },
  'cancel the answer': {
    event: 'message:cancel',
    payload: (t) => ({ ...here(t), messageId: t.answerId }),
    verdict: allowed(...insiders),
  },
}

/** What outsiders are told is held against what they are told of nothing. */
async function tryAs(
  who: Who,
  { event, payload }: Omit<Call, 'verdict'>,
  on: Talk,
  isOutside = outsiders.includes(who),
): Promise<string> {
  const answer = await ask(who, event, payload(on, who))
  if (isOutside) {
    const absent = await ask(who, event, payload(NO_TALK, who))
    expect(textOf(answer), `${who} tells it apart from what does not exist`).toBe(textOf(absent))
  }
  return outcomeOf(answer)
}

describe('every socket event', () => {
  it.each(Object.entries(CALLS))('%s', async (_name, call) => {
    const [changing, untouched] = [await talk(), await talk()]
    const heard = await eavesdrop(untouched)
    const before = await callers.state(untouched)
    const outcomes = await Promise.all(
      all.map(async (who) => {
        const mayChange = insiders.includes(who) && call.verdict(who) === 'ok'
        return `${who}: ${await tryAs(who, call, mayChange ? changing : untouched)}`
      }),
    )
    expect(outcomes).toEqual(all.map((who) => `${who}: ${call.verdict(who)}`))
    expect(await callers.state(untouched), 'somebody without permission has changed something').toEqual(
      before,
    )
    expect(await heard(), 'somebody without permission was heard').toEqual(THE_LAST)
  })

  it('that nobody acknowledges is refused as one about nothing is', async () => {
    const { conversationId } = await talk()
    const send = { role: 'user', content: 'hello' }
    for (const who of outsiders.filter((one) => !isAgent(one))) {
      const { socket, of } = socketOf(who)
      socket.emit('message:send', { ...send, conversationId })
      await until(() => of('message:error').length === 1)
      socket.emit('message:send', { ...send, conversationId: NO_TALK.conversationId })
      const [real, absent] = await until(() =>
        of('message:error').length === 2 ? of('message:error') : null,
      )
      expect(textOf(real ?? {})).toBe(textOf(absent ?? {}))
      expect(real?.code).toBe('not_found')
    }
  })

  it('type in the room: who takes part, and the room sees who', async () => {
    const on = await talk()
    await eavesdrop(on)
    const outcomes: string[] = []
    for (const who of insiders) {
      await ask(who, 'conversation:join', here(on))
      const answer = await ask(who, 'message:typing', { ...here(on), isTyping: true })
      outcomes.push(`${who}: ${outcomeOf(answer)}`)
    }
    const may = allowed('owner', 'member', 'observer', 'agent', 'adminObserver')
    expect(outcomes).toEqual(insiders.map((who) => `${who}: ${may(who)}`))
    await ear.first('user:typing', { ...here(on), participantId: CALLERS.adminObserver.sub })
    expect(ear.of('user:typing', here(on)).map(({ participantId }) => participantId)).toEqual([
      CALLERS.owner.sub,
      CALLERS.observer.sub,
      CALLERS.agent.sub,
      CALLERS.adminObserver.sub,
    ])
  })

  it('refresh: with a token of one’s own, and nobody else’s', async () => {
    await Promise.all(
      all.map(async (who) => {
        for (const other of [...all, who]) {
          const answer = await ask(who, 'auth:refresh', { token: callers.tokenOf(other) })
          expect(`${who} with ${other}: ${outcomeOf(answer)}`).toBe(
            `${who} with ${other}: ${other === who ? 'ok' : 'forbidden'}`,
          )
        }
      }),
    )
    const on = await talk()
    for (const who of outsiders) {
      const joining = { event: 'conversation:join', payload: here } as const
      expect(`${who}: ${await tryAs(who, joining, on)}`).toBe(`${who}: not_found`)
    }
  })
})

describe('somebody who was removed', () => {
  it('comes back by nothing that they hold: numbers, keys, cursors, an answer under way', async () => {
    const on = await talk()
    const { conversationId, answerId } = on
    const page = (of: Talk, query: string, who: Who) =>
      rest.patiently<{ page: { prevCursor: string } }>(
        'GET',
        `/messages/conversation/${of.conversationId}?${query}`,
        {
          token: callers.tokenOf(who),
        },
      )
    for (const who of ['agent', 'observer'] as const) await ask(who, 'conversation:join', here(on))
    const cursor = (await page(on, 'limit=1', 'agent')).body.page.prevCursor
    const token = callers.tokenOf('owner')
    for (const who of ['agent', 'observer'] as const) {
      const { type, sub } = CALLERS[who]
      await rest.must('DELETE', `/conversations/${conversationId}/participants/${type}/${sub}`, { token })
      await socketOf(who).first('conversation:removed', { conversationId, reason: 'removed' })
    }
    // Said once the answer is stored as it ended.
    await socketOf('agent').first('message:cancel', { conversationId, messageId: answerId })
    const before = await callers.state(on)
    for (const [name, call] of Object.entries(CALLS)) {
      for (const [who, like] of [
        ['agent', 'otherAgent'],
        ['observer', 'outsider'],
      ] as const) {
        const outcome = await tryAs(who, call, on, true)
        expect(`${who}, ${name}: ${outcome}`).toBe(`${who}, ${name}: ${call.verdict(like)}`)
      }
    }
    const problemOf = async (of: Talk) => {
      const { body } = await page(of, `limit=1&cursor=${cursor}`, 'agent')
      return textOf({ ...body, instance: '' })
    }
    expect(await problemOf(on)).toBe(await problemOf(NO_TALK))
    expect(await callers.state(on)).toEqual(before)
  })
})

describe('presence', () => {
  const get = <T>(who: Who, path: string) =>
    createHttp(stack.gatewayUrls, callers.tokenOf(who)).once<T & { code?: string }>(
      'GET',
      `/presence/${path}`,
    )
  /** Who is there in the lists of an admin, by type. */
  const listed = async (who: Who, type: string, query = '') =>
    (await get<{ data: { id: string }[] }>(who, `${type}?limit=100${query}`)).body.data.map(({ id }) => id)
  const idsOf = (orgId: string, type: string) =>
    [...new Set(all.map((who) => CALLERS[who]).filter((one) => one?.orgId === orgId && one.type === type))]
      .map((one) => one?.sub)
      .sort()

  it('is listed for admins, of their own org', async () => {
    for (const type of ['user', 'agent']) {
      for (const who of everyone) {
        const isAllowed = ['admin', 'adminObserver', 'awayAdmin'].includes(who)
        const { status, body } = await get(who, type)
        const expected = who === 'nobody' ? 'unauthenticated' : isAllowed ? 200 : 'forbidden'
        expect(`${who}: ${body.code ?? status}`).toBe(`${who}: ${expected}`)
        if (isAllowed) expect(await listed(who, type)).toEqual(idsOf(CALLERS[who]?.orgId ?? '', type))
      }
    }
  })

  it('is told of people who share a conversation; all others look like nobody, those of another org to admins too', async () => {
    await callers.scene()
    for (const subject of ['member', 'owner', 'agent'] as const) {
      const { type, sub: id } = CALLERS[subject]
      for (const who of everyone) {
        const { status, body } = await get(who, `${type}/${id}`)
        const caller = CALLERS[who]
        if (!caller) {
          expect(body.code).toBe('unauthenticated')
          continue
        }
        const isSelf = caller.type === type && caller.sub === id
        const isThere = idsOf(caller.orgId, type).includes(id)
        if (insiders.includes(who) || isSelf || (who === 'awayAdmin' && isThere)) {
          expect(body).toEqual({ type, id, status: 'online', at: expect.any(String) })
        } else {
          const absent = await get(who, `${type}/absent`)
          expect(status).toBe(absent.status)
          expect(textOf(body).replaceAll(id, 'absent')).toBe(textOf(absent.body))
        }
      }
    }
  })
})
