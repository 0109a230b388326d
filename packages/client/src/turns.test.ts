import { expect, it, vi } from 'vitest'
import { collectGarbage } from './testing/collect-garbage.ts'
import { stubRoom } from './testing/stub-room.ts'
import { createTurns } from './turns.ts'

it.for([
  ['is over', (answer: () => void): void => answer()],
  ['its handler began behind its own end', (answer: () => void): void => void setTimeout(answer, 20)],
] as const)('keeps nothing of an answer that %s', async ([, when]) => {
  const { room, world, connection, rest, closed } = stubRoom((_event, step) =>
    Promise.resolve('op' in step && step.op === 'start' ? { messageId: 'm', index: 0 } : { message }),
  )
  const message = world.append({ clientMessageId: null })
  const report = vi.fn()
  const turns = createTurns({ rest, answers: { connection, rest, closed }, report })
  const over = vi.fn()
  turns.handleWith(async (_question, { stream }) => {
    when(() => {
      stream().end({ content: 'Yes.' }).then(over)
    })
  })
  const gone = new AbortController().signal
  const answered = async () => {
    const question = { ...message }
    await turns.handle(room, question, gone)
    return new WeakRef(question)
  }
  const question = await answered()
  await vi.waitFor(() => expect(over).toHaveBeenCalled())
  const isGone = () => {
    collectGarbage()
    expect(question.deref() === undefined).toBe(true)
  }
  await vi.waitFor(isGone)
  expect(report).not.toHaveBeenCalled()
})
