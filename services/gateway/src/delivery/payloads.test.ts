import { expect, test } from 'vitest'
import { createFakeConversation } from '../testing/fake-api.ts'
import { payloadOf } from './payloads.ts'

test('a change that nobody was told of may also concern how far the summary goes', () => {
  const conversation = createFakeConversation('acme', []).view()
  const payload = payloadOf({ changeSeq: 1, kind: 'conversation.updated', conversation })
  expect(JSON.parse(payload?.changed ?? '')).toContain('summaryCoversSeq')
})
