import { readFile } from 'node:fs/promises'
import { CLIENT_EVENTS, SERVER_EVENTS } from '@parley/contract'
import { Ajv2020, type AnySchema } from 'ajv/dist/2020.js'
import formats from 'ajv-formats'
import { describe, expect, it } from 'vitest'
import { asyncApiDocument } from './document.ts'

const by = { type: 'user', id: 'ada' }
const at = '2026-01-01T00:00:00.000Z'
/** As a room is told of it. */
const MESSAGE = {
  id: 'a'.repeat(24),
  conversationId: 'c'.repeat(24),
  seq: 2,
  changeSeq: 0,
  type: 'text',
  role: 'user',
  status: 'sent',
  participantType: by.type,
  participantId: by.id,
  parentId: null,
  content: 'Hello',
  attachments: [],
  thinking: null,
  toolCalls: [],
  toolCallId: null,
  usage: null,
  model: null,
  cost: 0,
  metadata: {},
  clientMessageId: null,
  createdAt: at,
  createdBy: by,
  updatedAt: at,
  updatedBy: by,
  deletedAt: null,
}

const document = JSON.parse(JSON.stringify(asyncApiDocument()))

describe('the AsyncAPI document', () => {
  it('is what docs/asyncapi.json says (else: node services/gateway/src/asyncapi/write.ts)', async () => {
    const path = new URL('../../../../docs/asyncapi.json', import.meta.url)
    expect(JSON.parse(await readFile(path, 'utf8'))).toEqual(document)
  })

  it('has every event, and an operation for each', () => {
    const addresses = Object.values<{ address: string }>(document.channels).map(({ address }) => address)
    const events = new Set([...Object.keys(CLIENT_EVENTS), ...Object.keys(SERVER_EVENTS)])
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
    const ajv = new Ajv2020({ strict: false })
    formats.default(ajv)
    ajv.addSchema({ $id: 'sockets', components: document.components })
    const compiled = Object.entries<{ payload: AnySchema }>(document.components.messages).map(
      ([name, { payload }]) => {
        const text = JSON.stringify(payload).replaceAll('"#/components', '"sockets#/components')
        return [name, ajv.compile(JSON.parse(text))] as const
      },
    )
    const accepts = (payload: object) =>
      compiled.filter(([name, check]) => name.startsWith('server-') && check(payload)).map(([name]) => name)
    const { cost, ...costless } = MESSAGE
    expect(cost).toBe(0)
    expect(accepts({ ...MESSAGE, prevSeq: 1 })).toContain('server-message-new')
    expect(accepts(MESSAGE)).toEqual(['server-message-updated', 'server-message-deleted'])
    expect(accepts(costless)).toEqual([])
  })
})
