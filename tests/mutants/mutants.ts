import type { Patch } from './workspace.ts'

/** The test that has to notice: one of vitest's, or the short form of a fault row. */
export type Proof = { project: 'unit' | 'blackbox' | 'faults'; file: string; name?: string } | { row: string }

export interface Mutant {
  name: string
  patches: readonly Patch[]
  proof: Proof
}

const tail = 'packages/events/src/tail.test.ts'
const log = 'services/api/src/messages/log.ts'
const logTest = 'services/api/src/messages/log.test.ts'
const feed = 'services/gateway/src/delivery/feed.ts'

const noGapFill: Patch = {
  file: feed,
  find: '    filling = true\n',
  replace: '    if (filling === false) return\n',
}
const publishFirst: Patch = {
  file: log,
  find: '    const { outcomes, election: under, cause } = await store.insert(',
  replace: `    void publisher
      .publish(
        admitted.map(({ row, lane }) => ({
          type: 'message.created',
          org: row.org,
          cid: lane.id,
          seq: row.seq,
          data: JSON.stringify(toMessage(row)),
        })),
      )
      .catch(() => undefined)
    const { outcomes, election: under, cause } = await store.insert(`,
}
const publishOnlyThere: Patch = {
  file: log,
  find: '    publisher.publish(events).then(',
  replace: '    Promise.resolve(events).then(',
}
const noUniqueKey: Patch = {
  file: 'services/api/src/database/indexes.ts',
  find: '      key: { cid: 1, author: 1, clientMessageId: 1 },\n      unique: true,',
  replace: '      key: { cid: 1, author: 1, clientMessageId: 1 },',
}
const immortalLeases: Patch = {
  file: 'services/gateway/lua/lease-list.lua',
  find: 'tonumber(all[i + 1]) >= now and live or dead',
  replace: 'live',
}

/** Nothing here may become a switch in the code: a mutant is a patch to a copy. */
export const MUTANTS: readonly Mutant[] = [
  {
    name: 'w:1 acknowledgement',
    patches: [
      {
        file: 'services/api/src/messages/store.ts',
        find: "writeConcern: { w: 'majority', j: true },",
        replace: 'writeConcern: { w: 1 },',
      },
    ],
    proof: { row: 'R2' },
  },
  {
    name: 'publish before commit',
    patches: [publishFirst, publishOnlyThere],
    proof: { project: 'unit', file: logTest, name: 'neither loses, doubles nor reorders' },
  },
  {
    name: 'publish before commit, from outside',
    patches: [publishFirst, publishOnlyThere],
    proof: { row: 'R6' },
  },
  {
    name: 'no relay: what was stored and not published stays unpublished',
    patches: [
      {
        file: 'services/api/src/messages/sweeper.ts',
        find: '    await publisher.publish(all.map((row) => eventOf(row, to)))',
        replace: '    if (to === undefined || to) return',
      },
    ],
    proof: { project: 'unit', file: logTest, name: 'publishes what could not be published' },
  },
  {
    name: 'unique key dropped',
    patches: [noUniqueKey],
    proof: { project: 'unit', file: logTest, name: 'is one message, across processes' },
  },
  { name: 'unique key dropped, from outside', patches: [noUniqueKey], proof: { row: 'R6' } },
  {
    name: 'no gap fill',
    patches: [noGapFill],
    proof: {
      project: 'unit',
      file: 'services/gateway/src/delivery/delivery.test.ts',
      name: 'whatever the stream loses',
    },
  },
  { name: 'no gap fill, from outside', patches: [noGapFill], proof: { row: 'R8' } },
  {
    name: 'order by timestamp',
    patches: [
      {
        file: 'services/api/src/messages/pages.ts',
        find: 'filter, range)).sort({ seq: 1 })',
        replace: 'filter, range)).sort({ createdAt: 1 })',
      },
    ],
    proof: { project: 'unit', file: 'services/api/src/messages/pages.test.ts' },
  },
  {
    name: 'order by timestamp, on the stream',
    patches: [
      {
        file: 'services/gateway/src/delivery/sequencer.ts',
        find: '          if (seq > filledSeq) break',
        replace: `          const early = [...messages.keys()].sort((a, b) => a - b)[0]
          if (early === undefined) break
          position.seq = early - 1
          continue`,
      },
    ],
    proof: { project: 'unit', file: 'services/gateway/src/delivery/sequencer.test.ts' },
  },
  {
    name: 'org filter missing',
    patches: [
      {
        file: 'services/api/src/participants/heads.ts',
        find: '[...ids.values()] }, org, deletedAt',
        replace: '[...ids.values()] }, ...(org ? {} : { org }), deletedAt',
      },
      {
        file: 'services/api/src/participants/heads.ts',
        // biome-ignore lint/suspicious/noTemplateCurlyInString: text of the source
        find: '`${cid.toHexString()} ${org}`',
        replace: 'cid.toHexString()',
      },
    ],
    proof: { project: 'blackbox', file: 'tests/security/permissions.test.ts' },
  },
  {
    name: 'presence without lease',
    patches: [immortalLeases],
    proof: {
      project: 'unit',
      file: 'services/gateway/src/presence/reaper.test.ts',
      name: 'of a dead gateway',
    },
  },
  { name: 'presence without lease, from outside', patches: [immortalLeases], proof: { row: 'P1' } },
  {
    name: 'job without bucket',
    patches: [
      {
        file: 'services/api/src/summaries/queue.ts',
        find: '  const bucket = Math.floor(throughSeq / LIMITS.summaryBucket)',
        replace: '  const bucket = Math.random()',
      },
    ],
    proof: { project: 'unit', file: 'services/api/src/summaries/queue.test.ts', name: 'one for each bucket' },
  },
  {
    name: 'read position that goes back',
    patches: [
      {
        file: 'services/api/src/participants/read-positions.ts',
        find: '$max: { readSeq: seq, ',
        replace: '$set: { readSeq: seq, ',
      },
    ],
    proof: {
      project: 'unit',
      file: 'services/api/src/participants/read-positions.test.ts',
      name: 'are stored when acknowledged',
    },
  },
  {
    name: 'a lost stream goes unnoticed',
    patches: [
      {
        file: 'packages/events/src/position.ts',
        find: "if (from.epoch !== epoch) return lost('wiped')",
        replace: '',
      },
    ],
    proof: { project: 'unit', file: tail, name: 'two readers of one wiped Redis' },
  },
  {
    name: 'a trimmed stream goes unnoticed',
    patches: [
      {
        file: 'packages/events/src/position.ts',
        find: "if (pending > read.count && read.count < count) return lost('trimmed')",
        replace: '',
      },
    ],
    proof: { project: 'unit', file: tail, name: 'went between two reads' },
  },
  {
    name: 'a stream that nobody can write to counts as live',
    patches: [
      {
        file: 'packages/events/src/partition-tail.ts',
        find: "hasPulse ? 'live' : 'silent'",
        replace: "hasPulse === undefined ? 'silent' : 'live'",
      },
    ],
    proof: { project: 'unit', file: tail, name: 'nobody can write to' },
  },
  {
    name: 'the cursor stays where it was after a loss',
    patches: [
      {
        file: 'packages/events/src/partition-tail.ts',
        find: 'position = seen.position',
        replace: 'position = position ? { ...seen.position, cursor: position.cursor } : seen.position',
      },
    ],
    proof: { project: 'unit', file: tail, name: 'lower ids issued' },
  },
  {
    name: 'whoever removes a socket calls its person offline',
    patches: [
      {
        file: 'services/gateway/lua/presence-remove.lua',
        find: 'if left == 0 and',
        replace: 'if',
      },
    ],
    proof: {
      project: 'unit',
      file: 'services/gateway/src/presence/registrations.test.ts',
      name: 'from their first socket to their last',
    },
  },
  {
    name: 'a stream without an owner',
    patches: [
      {
        file: 'services/gateway/lua/stream-append.lua',
        find: 'if at[1] ~= ARGV[1] then return 0 end',
        replace: '',
      },
    ],
    proof: {
      project: 'unit',
      file: 'services/gateway/src/streaming/store.test.ts',
      name: 'a text has one owner',
    },
  },
  {
    name: 'an answer goes on while it is being cancelled',
    patches: [
      {
        file: 'services/gateway/lua/stream-append.lua',
        find: 'then return 3 end',
        replace: 'then local ignored = true end',
      },
    ],
    proof: {
      project: 'unit',
      file: 'services/gateway/src/streaming/streams.test.ts',
      name: 'shows nothing of an answer that is being cancelled',
    },
  },
  {
    name: 'a write to a closed socket is waited for',
    patches: [
      {
        file: 'services/api/src/database/client.ts',
        find: 'failWritesToClosedSockets(client)',
        replace: '() => undefined',
      },
    ],
    proof: { project: 'unit', file: 'services/api/src/database/closed-sockets.test.ts' },
  },
]
