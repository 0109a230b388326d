import { readFile } from 'node:fs/promises'
import { CLIENT_EVENTS, SERVER_EVENTS } from '@parley/contract'
import { Ajv2020, type AnySchema } from 'ajv/dist/2020.js'
import formats from 'ajv-formats'
import { describe, expect, it } from 'vitest'
import { createFakeConversation } from '../testing/fake-api.ts'
import { asyncApiDocument } from './document.ts'

const MESSAGE = createFakeConversation('acme', [{ type: 'user', id: 'ada' }]).add('Hello')
const document = JSON.parse(JSON.stringify(asyncApiDocument()))

const ajv = new Ajv2020({ strict: false })
formats.default(ajv)
ajv.addSchema({ $id: 'sockets', components: document.components })
const checks = Object.entries<{ payload: AnySchema }>(document.components.messages).map(
  ([name, { payload }]) => {
    const text = JSON.stringify(payload).replaceAll('"#/components', '"sockets#/components')
    return [name, ajv.compile(JSON.parse(text))] as const
  },
)
/** Names of the messages that may have this payload. */
const accepting = (payload: object) => checks.filter(([, check]) => check(payload)).map(([name]) => name)

describe('the AsyncAPI document', () => {
  it('matches docs/asyncapi.json (if not: node services/gateway/src/asyncapi/write.ts)', async () => {
    const path = new URL('../../../../docs/asyncapi.json', import.meta.url)
    expect(JSON.parse(await readFile(path, 'utf8'))).toEqual(document)
  })

  it('has every event, and an operation for each', () => {
    const addresses = Object.values<{ address: string }>(document.channels).map(({ address }) => address)
    const events = new Set([...Object.keys(CLIENT_EVENTS), 'connect_error', ...Object.keys(SERVER_EVENTS)])
    expect(new Set(addresses)).toEqual(events)
    expect(Object.keys(document.operations)).toEqual(Object.keys(document.channels))
  })

  it('has no dangling references', () => {
    const refs: string[] = []
    JSON.stringify(document, (key, value: unknown) => {
      if (key === '$ref' && typeof value === 'string') refs.push(value)
      return value
    })
    expect(refs.length).toBeGreaterThan(20)
    for (const ref of refs) {
      const found = ref
        .slice(2)
        .split('/')
        .reduce((at: Record<string, never> | undefined, key) => at?.[key], document)
      expect(found, ref).toBeDefined()
    }
  })

  it('has a full schema under each name, not a reference to itself', () => {
    for (const [name, schema] of Object.entries(document.components.schemas)) {
      expect(Object.keys(schema as object), name).not.toContain('$ref')
    }
  })

  it('has payload schemas that accept a message and reject what is not one', () => {
    const { cost, ...costless } = MESSAGE
    expect(cost).toBe(0)
    expect(accepting({ ...MESSAGE, prevSeq: 1 })).toContain('server-message-new')
    expect(accepting(MESSAGE)).toEqual(['server-message-updated', 'server-message-deleted'])
    expect(accepting(costless)).toEqual([])
  })

  it('allows unknown fields in what the server sends, and none in what it receives', () => {
    expect(accepting({ ...MESSAGE, mood: 'cheerful' })).toContain('server-message-updated')
    const typing = { conversationId: MESSAGE.conversationId, isTyping: true }
    expect(accepting(typing)).toEqual(['client-message-typing'])
    expect(accepting({ ...typing, mood: 'cheerful' })).toEqual([])
  })

  it('describes each event, and how long a text may be', () => {
    const { messages, schemas } = document.components
    const silent = Object.keys(messages).filter((name) => !name.endsWith('-ack') && !messages[name].summary)
    expect(silent).toEqual([])
    expect(schemas.CreateMessage.properties.content.description).toBe('At most 65536 bytes of UTF-8')
  })

  it('lists the reasons for a refused handshake and for a resync', () => {
    const refused = (code: string) => accepting({ message: code, data: { code } })
    expect(refused('token_expired')).toEqual(['server-connect_error'])
    expect(refused('not_found')).toEqual([])
    const resync = (reason: string) => accepting({ conversationId: MESSAGE.conversationId, reason })
    expect(resync('slow_reader')).toContain('server-resync')
    expect(resync('whatever')).toEqual([])
  })

  it('says what acknowledges each step of a streamed answer', () => {
    const [done] = document.components.messages['client-message-stream-ack'].payload.oneOf
    const answers = Object.fromEntries(
      done.allOf[1].anyOf.map(({ description, required }: { description: string; required?: string[] }) => [
        description,
        required,
      ]),
    )
    expect(answers).toEqual({
      'Of a start': ['messageId', 'seq'],
      'Of an end or abort': ['messageId', 'seq', 'message'],
      'Of a delta': undefined,
    })
  })
})
