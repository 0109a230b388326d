import { readFile } from 'node:fs/promises'
import { CLIENT_EVENTS, SERVER_EVENTS } from '@parley/contract'
import { describe, expect, it } from 'vitest'
import { asyncApiDocument } from './document.ts'

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
})
