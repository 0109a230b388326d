import type { InternalSummaryWrite, SummaryWork } from '@parley/contract'
import type { ObjectId } from 'mongodb'
import { createChanges } from '../../changes/changes.ts'
import { textChanged } from '../../changes/content.ts'
import { draft, openWorld } from '../../messages/testing/world.ts'
import { createPricing } from '../../money/prices.ts'
import { createSummaryWorkReader } from '../work.ts'
import { createSummaryWriter } from '../writer.ts'

/** A throw-away database with messages and summaries on it, and a worker that needs no queue. */
export async function openSummaryWorld(mongodbUri: string) {
  const world = await openWorld(mongodbUri)
  const { database } = world
  const process = world.process()
  const outbox = { send: async () => {}, publish: () => {}, idle: async () => {} }
  const changes = createChanges({
    client: database.client,
    rows: database,
    outbox,
    touched: () => undefined,
    logger: { debug: () => undefined },
  })
  const reader = createSummaryWorkReader(database)
  const write = createSummaryWriter({
    ...database,
    changes,
    pricing: createPricing({ small: { input: 1, output: 2 } }),
  })

  /** Repeats its input word for word, so that a summary's text shows where it came from. */
  function summarise(work: SummaryWork): InternalSummaryWrite {
    const notes = [
      ...work.notes,
      ...work.messages.map(({ seq, author, content }) => ({ seq, author, text: content, weight: 1 })),
    ].sort((a, b) => a.seq - b.seq)
    return {
      conversationId: '',
      coversSeq: work.coversSeq,
      contentRev: work.contentRev,
      throughSeq: work.throughSeq,
      previousSeq: work.previousSeq,
      text: notes.map(({ text }) => text).join('; '),
      notes: notes.slice(-100),
      source: 'model',
      model: 'small',
      usage: { inputTokens: 100, outputTokens: 10, totalTokens: 110 },
    }
  }

  async function work(cid: ObjectId): Promise<SummaryWork> {
    const read = await reader.read(cid.toHexString())
    if (read.state !== 'ready') throw new Error(`nothing to do: ${read.state}`)
    return read
  }

  return {
    ...world,
    process,
    changes,
    reader,
    write,
    work,
    summarise: (cid: ObjectId, given: SummaryWork): InternalSummaryWrite => ({
      ...summarise(given),
      conversationId: cid.toHexString(),
    }),

    /** Runs steps until nothing more can be done; resolves to the seqs they reached. */
    async run(cid: ObjectId): Promise<number[]> {
      const steps: number[] = []
      for (;;) {
        const read = await reader.read(cid.toHexString())
        if (read.state !== 'ready') return steps
        const applied = await write({ ...summarise(read), conversationId: cid.toHexString() })
        if (applied) steps.push(read.throughSeq)
      }
    },

    /** Sends lines in turn by the two, and settles them. */
    async say(cid: ObjectId, lines: readonly string[]): Promise<void> {
      for (const [i, line] of lines.entries()) {
        const author = i % 2 === 0 ? 'user:ada' : 'user:bob'
        await process.log.append({ org: 'acme', cid, draft: draft(author, line), admin: false })
      }
      await process.headUpdater.flush()
    },

    /** Deletes a message as the service does it. */
    async remove(cid: ObjectId, seq: number): Promise<void> {
      const row = await database.messages.findOne({ cid, seq })
      if (!row) throw new Error(`no message ${seq}`)
      await changes.apply(cid, {
        by: 'user:ada',
        async run(transaction) {
          const message = await transaction.message(row._id)
          if (message) {
            message.deletedAt = transaction.now
            message.content = ''
          }
          textChanged(transaction.head, seq)
          return {
            value: undefined,
            effect: { kind: 'message.deleted', action: 'message.delete', messageId: row._id },
          }
        },
      })
    },

    head: (cid: ObjectId) => database.conversations.findOne({ _id: cid }),
    stored: (cid: ObjectId) => database.summaries.find({ cid }).sort({ throughSeq: 1 }).toArray(),
  }
}
export type SummaryWorld = Awaited<ReturnType<typeof openSummaryWorld>>

export const lines = (count: number, prefix = 'line'): string[] =>
  Array.from({ length: count }, (_, i) => `${prefix} ${i + 1}`)
