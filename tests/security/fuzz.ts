import { randomUUID } from 'node:crypto'
import { type Stack, startStack } from '@parley/devstack'
import fc from 'fast-check'
import { UNLIMITED } from '../faults/bed.ts'
import type { Row } from '../faults/row.ts'
import { type ApiOperation, createRest, type Rest } from '../support/rest.ts'
import { runSchemathesis } from './schemathesis.ts'

type Schema = Record<string, unknown>

/** Values that have broken servers before. */
const NASTY: unknown[] = [
  null,
  true,
  0,
  -1,
  1.5,
  1e308,
  Number.MAX_SAFE_INTEGER + 2,
  '',
  ' ',
  '\0',
  '\ud800',
  '\u202e',
  '🙈'.repeat(70),
  'x'.repeat(70_000),
  '../../etc/passwd',
  "' OR 1=1 --",
  '$where',
  '__proto__',
  '{"$gt":""}',
  '%00',
  'true',
  'NaN',
  [],
  {},
  [[[[]]]],
  { $ne: null },
  { $where: 'sleep(1)' },
  { _bsontype: 'ObjectId' },
  JSON.parse('{"__proto__": {"x": 1}}'),
  { constructor: { prototype: {} } },
  Array(2_000).fill(0),
]

const nasty = fc.constantFrom(...NASTY)
const spoiled = (sound: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> =>
  fc.oneof({ weight: 12, arbitrary: sound }, { weight: 1, arbitrary: nasty })

/** Places in a request that are filled when it is sent, with something that then exists. */
const CONVERSATION = '@conversation'
const MESSAGE = '@message'
const PERSON = '@person'

/** Requests made from the document: mostly sound, with something broken here and there. */
function requestsOf(rest: Rest) {
  const { schemas } = rest.document.components
  const isSchema = (value: unknown): value is Schema => typeof value === 'object' && value !== null

  function fromSchema(schema: unknown, name: string): fc.Arbitrary<unknown> {
    if (!isSchema(schema)) return fc.jsonValue()
    if (typeof schema.$ref === 'string') return fromSchema(schemas[schema.$ref.split('/').at(-1) ?? ''], name)
    if (Array.isArray(schema.enum)) return fc.constantFrom(...schema.enum)
    if (schema.const !== undefined) return fc.constant(schema.const)
    const alternatives = schema.anyOf ?? schema.oneOf
    if (Array.isArray(alternatives)) return fc.oneof(...alternatives.map((one) => fromSchema(one, name)))
    switch (schema.type) {
      case 'string':
        return text(schema, name)
      case 'integer':
        return fc.integer({
          min: Number(schema.minimum ?? 0),
          max: Math.min(Number(schema.maximum ?? 1e6), 2 ** 31),
        })
      case 'number':
        return fc.double()
      case 'boolean':
        return fc.boolean()
      case 'null':
        return fc.constant(null)
      case 'array':
        return fc.array(spoiled(fromSchema(schema.items, name)), { maxLength: 3 })
      case 'object':
        return object(schema)
      default:
        return fc.jsonValue({ maxDepth: 3 })
    }
  }

  function text(schema: Schema, name: string): fc.Arbitrary<unknown> {
    const pattern = String(schema.pattern ?? '')
    if (pattern.includes('{24}')) {
      const known = /message|parent/i.test(name) ? MESSAGE : CONVERSATION
      return fc.oneof(
        { weight: 9, arbitrary: fc.constant(known) },
        { weight: 1, arbitrary: fc.constant('f'.repeat(24)) },
      )
    }
    if (/^(id|participantId|agentId)$/.test(name)) return fc.constantFrom(PERSON, 'helper', 'Zoë Ωmega/ü')
    return fc.string({
      unit: 'grapheme',
      minLength: 1,
      maxLength: Math.min(Number(schema.maxLength ?? 60), 60),
    })
  }

  function object(schema: Schema): fc.Arbitrary<unknown> {
    const properties = isSchema(schema.properties) ? schema.properties : {}
    const fields = Object.fromEntries(
      Object.entries(properties).map(([key, value]) => [key, spoiled(fromSchema(value, key))]),
    )
    if (Object.keys(fields).length === 0)
      return fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 2 }), { maxKeys: 3 })
    const required = Array.isArray(schema.required) ? schema.required.map(String) : []
    const sound = fc.record(fields, { requiredKeys: required })
    const withMore = fc
      .tuple(sound, fc.string(), nasty)
      .map(([value, key, more]) => ({ ...value, [key]: more }))
    return fc.oneof({ weight: 12, arbitrary: sound }, { weight: 1, arbitrary: withMore })
  }

  const headers = fc.oneof(
    { weight: 12, arbitrary: fc.constant({}) },
    {
      weight: 1,
      arbitrary: fc.constantFrom<Record<string, string>>(
        { 'idempotency-key': 'again' },
        { 'idempotency-key': 'x'.repeat(200) },
        { 'x-request-id': '{"$ne":1}' },
        { 'content-type': 'text/plain' },
        { 'content-type': 'application/json; charset=utf-16' },
        { accept: 'text/html' },
        { 'accept-encoding': 'x' },
        { origin: 'https://evil.test' },
      ),
    },
  )

  function requestOf(method: string, path: string, operation: ApiOperation) {
    const parameters = (operation.parameters ?? []).filter((parameter) => parameter.in !== 'header')
    const values = Object.fromEntries(
      parameters.map(({ name, in: place, required, schema }) => {
        // Nobody summarises here: waiting for it would only wait.
        const sound = name === 'wait' ? fc.constant('false') : fromSchema(schema, nameOf(path, name))
        const value = spoiled(sound)
        return [`${place} ${name}`, required ? value : fc.option(value, { nil: undefined, freq: 3 })]
      }),
    )
    const body = operation.requestBody?.content['application/json']?.schema
    return fc.record({
      method: fc.constant(method),
      path: fc.constant(path),
      values: fc.record(values),
      body: body ? spoiled(fromSchema(body, 'body')) : fc.constant(undefined),
      headers,
      who: fc.nat(11),
    })
  }

  return fc.oneof(
    ...rest.routes
      .filter(({ path }) => path !== '/metrics' && path !== '/openapi.json')
      .map(({ method, path, operation }) => requestOf(method, path, operation)),
  )
}

/** What an `{id}` names depends on the path that it stands in. */
const nameOf = (path: string, parameter: string): string =>
  parameter === 'id' && /^\/messages\/\{id\}/.test(path)
    ? 'messageId'
    : parameter === 'id'
      ? 'conversationId'
      : parameter

interface Targets {
  conversations: string[]
  messages: string[]
}

/** Things to be broken, made anew from time to time: requests delete them. */
function createTargets(rest: Rest, owners: (() => string)[]) {
  let targets: Targets = { conversations: [], messages: [] }
  let uses = 0
  async function refresh(): Promise<void> {
    const fresh: Targets = { conversations: [], messages: [] }
    for (const owner of owners) {
      const token = owner()
      const body = { agentId: 'helper', participants: [{ type: 'user', id: 'bob' }] }
      const { id } = await rest.must<{ id: string }>('POST', '/conversations', { token, body })
      fresh.conversations.push(id)
      for (let i = 0; i < 3; i++) {
        const message = { conversationId: id, role: 'user', content: `message ${i} of many` }
        fresh.messages.push(
          (await rest.must<{ id: string }>('POST', '/messages', { token, body: message })).id,
        )
      }
    }
    targets = fresh
  }
  const pick = (list: string[]): string => list[uses++ % list.length] ?? ''
  const fill = (value: unknown): unknown => {
    if (value === CONVERSATION) return pick(targets.conversations)
    if (value === MESSAGE) return pick(targets.messages)
    if (value === PERSON) return uses++ % 2 === 0 ? 'bob' : 'carol'
    if (Array.isArray(value)) return value.map(fill)
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, fill(inner)]))
  }
  return { refresh, fill }
}

const asText = (value: unknown): string =>
  (typeof value === 'string' ? value : JSON.stringify(value)).slice(0, 8_000).toWellFormed()

export interface FuzzOptions {
  cases: number
  seed: number
  log?(line: string): void
}

/** Fires `cases` requests; rejects with the smallest one that got an answer it should not get. */
export async function fuzz(
  rest: Rest,
  stack: Stack,
  { cases, seed, log }: FuzzOptions,
): Promise<Record<string, number>> {
  const orgId = `fuzz-${randomUUID()}`
  const token = (sub: string, more: object = {}) => stack.token({ sub, orgId, expiresIn: 80_000, ...more })
  // Made anew for each request: the fuzz revokes tokens, too.
  const callers: (() => string | undefined)[] = [
    () => token('ada'),
    () => token('ada'),
    () => token('ada'),
    () => token('dora'),
    () => token('root', { roles: ['admin'] }),
    () => token('root', { roles: ['admin'] }),
    () => token('bob'),
    () => token('helper', { type: 'agent' }),
    () => token('helper', { type: 'agent' }),
    () => token('ada', { orgId: `${orgId}-other` }),
    () => 'not.a.token',
    () => undefined,
  ]
  const targets = createTargets(
    rest,
    ['ada', 'dora'].map((sub) => () => token(sub)),
  )
  const statuses: Record<string, number> = {}
  let sent = 0
  const batch = 8

  const one = requestsOf(rest)
  type Request = typeof one extends fc.Arbitrary<infer R> ? R : never
  async function send({ method, path, values, body, headers, who }: Request): Promise<void> {
    let url = path
    const query = new URLSearchParams()
    for (const [key, value] of Object.entries(values as Record<string, unknown>)) {
      if (value === undefined) continue
      const [place, name = ''] = key.split(' ')
      const filled = asText(targets.fill(value))
      if (place === 'path')
        url = url.replace(`{${name}}`, encodeURIComponent(filled).replaceAll('.', '%2E') || '%20')
      else query.set(name, filled.slice(0, 1_000))
    }
    if (query.size > 0) url += `?${query}`
    const payload = body === undefined ? {} : { body: targets.fill(body) ?? 'null' }
    const token = callers[who]?.()
    const { status, text } = await rest.patiently(method, url, { token, ...payload, headers })
    statuses[status] = (statuses[status] ?? 0) + 1
    if (status >= 500) throw new Error(`${method} ${url.slice(0, 300)} → ${status} ${text}`)
  }

  await fc.assert(
    fc.asyncProperty(fc.array(one, { minLength: batch, maxLength: batch }), async (requests) => {
      if (sent % 160 === 0) await targets.refresh()
      if (sent % 20_000 === 0) log?.(`${sent} cases sent`)
      sent += requests.length
      await Promise.all(requests.map(send))
    }),
    { numRuns: Math.ceil(cases / batch), seed, endOnFailure: false },
  )
  return { cases: sent, ...statuses }
}

export interface RestBed {
  stack: Stack
  close(): Promise<void>
}

/** An api alone, without limits. */
export async function startRestBed(mongodbUri?: string): Promise<RestBed> {
  const stack = await startStack({
    gateways: 0,
    workers: 0,
    env: UNLIMITED,
    ...(mongodbUri === undefined ? {} : { mongodbUri }),
  })
  return { stack, close: () => stack.close() }
}

export const s1: Row<{ cases: number; schemathesis: number }, RestBed> = {
  name: 'S1',
  title: 'requests made from the OpenAPI document and broken here and there',
  short: { cases: 800, schemathesis: 0 },
  full: (minutes) => ({
    cases: Math.max(1_200, Math.round(minutes * 10_000)),
    schemathesis: Math.max(1, Math.round(minutes * 20)),
  }),
  async run({ stack }, { random, size, log }) {
    const rest = await createRest(stack.apiUrl)
    const faults: string[] = []
    let figures: Record<string, number | string> = {}
    try {
      figures = await fuzz(rest, stack, { cases: size.cases, seed: random.int(0, 1e9), log })
    } catch (error) {
      const { message, cause } = error instanceof Error ? error : new Error(String(error))
      faults.push(`${cause instanceof Error ? cause.message : ''}\n${message}`)
    }
    if (size.schemathesis > 0) {
      const report = await runSchemathesis(stack, { examples: size.schemathesis, log })
      faults.push(...report.faults)
      figures = { ...figures, ...report.figures }
    }
    const crashed = stack.log('api-0').filter((line) => /uncaught|request failed/.test(line))
    faults.push(...crashed.slice(0, 10))
    return { faults, figures }
  },
}
