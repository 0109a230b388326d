import { PassThrough } from 'node:stream'
import { expect, it } from 'vitest'
import { createLogger } from './logging.ts'

it('an error is logged with its message, code and cause, and without what a driver hung on it', () => {
  const output = new PassThrough()
  const logger = createLogger({ name: 'test', level: 'info' }, output)
  const cause = Object.assign(new Error('refused'), {
    code: 13,
    writeErrors: [{ op: { content: 'private' } }],
  })
  logger.error({ err: new Error('not stored', { cause }) }, 'failed')
  const line: string = output.read().toString()
  expect(JSON.parse(line)).toMatchObject({
    msg: 'failed',
    err: { message: 'not stored', cause: { message: 'refused', code: 13, stack: expect.any(String) } },
  })
  expect(line).not.toContain('private')
})
