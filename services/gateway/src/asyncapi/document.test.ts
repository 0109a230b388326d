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
  it('is what docs/asyncapi.json says (else: node services/gateway/src/asyncapi/write.ts)', async () => {
    const path = new URL('../../../../docs/asyncapi.json', import.meta.url)
    expect(JSON.parse(await readFile(path, 'utf8'))).toEqual(document)
  })

  it('has every event, and an operation for each', () => {
    const addresses = Object.values<{ address: string }>(document.channels).map(({ address }) => address)
    const events = new Set([...Object.keys(CLIENT_EVENTS), 'connect_error', ...Object.keys(SERVER_EVENTS)])
    expect(new Set(addresses)).toEqual(events)
    expect(Object.keys(document.operations)).toEqual(Object.keys(document.channels))
  })

  it('refers to nothing that is not there', () => {
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

  it('has a whole schema under each name, not one that only names itself', () => {
    for (const [name, schema] of Object.entries(document.components.schemas)) {
      expect(Object.keys(schema as object), name).not.toContain('$ref')
    }
  })

  it('has payloads that can be checked against, and which tell a message from what is none', () => {
    const { cost, ...costless } = MESSAGE
    expect(cost).toBe(0)
    expect(accepting({ ...MESSAGE, prevSeq: 1 })).toContain('server-message-new')
    expect(accepting(MESSAGE)).toEqual(['server-message-updated', 'server-message-deleted'])
    expect(accepting(costless)).toEqual([])
  })

  it('leaves open what the server may say one day, and nothing that it is told', () => {
    expect(accepting({ ...MESSAGE, mood: 'cheerful' })).toContain('server-message-updated')
    const typing = { conversationId: MESSAGE.conversationId, isTyping: true }
    expect(accepting(typing)).toEqual(['client-message-typing'])
    expect(accepting({ ...typing, mood: 'cheerful' })).toEqual([])
  })

  it('says of each event what it means, and of a text how long it may be', () => {
    const { messages, schemas } = document.components
    const silent = Object.keys(messages).filter((name) => !name.endsWith('-ack') && !messages[name].summary)
    expect(silent).toEqual([])
    expect(schemas.CreateMessage.properties.content.description).toBe('At most 65536 bytes of UTF-8')
  })

  it('says why a handshake was refused, and why a room has to be fetched anew', () => {
    const refused = (code: string) => accepting({ message: code, data: { code } })
    expect(refused('token_expired')).toEqual(['server-connect_error'])
    expect(refused('not_found')).toEqual([])
    const resync = (reason: string) => accepting({ conversationId: MESSAGE.conversationId, reason })
    expect(resync('slow_reader')).toContain('server-resync')
    expect(resync('whatever')).toEqual([])
  })

  it('says of each step of a streamed answer what it is acknowledged with', () => {
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
