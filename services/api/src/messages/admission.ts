import { type ProblemError, problem } from '@parley/contract'
import { ObjectId } from 'mongodb'
import type {
  Collections,
  ConversationDocument,
  MessageDocument,
  MessageRow,
} from '../database/collections.ts'
import { isVoid } from '../database/collections.ts'
import { contiguous, nextAgentRun } from './fold.ts'
import type { Entry, Lane } from './lanes.ts'
import type { ParticipantCache } from './participant-cache.ts'
import type { MessageStore } from './store.ts'

const HEAD = {
  org: 1,
  status: 1,
  deletedAt: 1,
  membersRev: 1,
  participantCount: 1,
  settledSeq: 1,
  agentRun: 1,
} as const
type Head = Pick<ConversationDocument, '_id' | 'deletedAt' | keyof typeof HEAD>

/** An entry with the number it is to get. */
export interface Admitted {
  lane: Lane
  entry: Entry
  row: MessageDocument
  /** Messages by agents in a row, this one included. */
  agentRun: number
  /** Participant keys, in conversations of up to 50. */
  to: string[] | undefined
}

export interface Admission {
  admitted: Admitted[]
  refused: { lane: Lane; entry: Entry; refusal: ProblemError }[]
}

export interface AdmissionOptions {
  conversations: Collections['conversations']
  store: Pick<MessageStore, 'byIds' | 'tails'>
  participantCache: ParticipantCache
  /** Messages by agents in a row after which agents wait for a person. */
  hopLimit: number
}

/** Decides, by the current heads, which messages of a batch may be stored, and which numbers they are to get. */
export function createAdmission({ conversations, store, participantCache, hopLimit }: AdmissionOptions) {
  /** The last number taken, and the run of agents up to it. */
  function place(lane: Lane, head: Head, tail: readonly MessageRow[]): { seq: number; agentRun: number } {
    if (lane.contended) {
      const rows = contiguous(head.settledSeq, tail)
      const agentRun = rows.reduce(
        (run, row) => (isVoid(row) ? run : nextAgentRun(run, row.author)),
        head.agentRun,
      )
      return { seq: head.settledSeq + rows.length, agentRun }
    }
    if (lane.known && lane.known.seq >= head.settledSeq) return lane.known
    return { seq: head.settledSeq, agentRun: head.agentRun }
  }

  function refusalOf(
    entry: Entry,
    head: Head | undefined,
    agentRun: number,
    parentOf: Map<string, MessageRow>,
  ): ProblemError | null {
    const { draft } = entry
    if (!head || head.org !== entry.org || head.deletedAt) return problem('not_found')
    const role = participantCache.role(head.membersRev, draft.author)
    if (!role) return problem(entry.admin ? 'forbidden' : 'not_found')
    if (role === 'observer') return problem('forbidden', { detail: 'Observers can read but not write' })
    if (head.status !== 'active') return problem('conversation_not_active')
    if (draft.parentId) {
      const parent = parentOf.get(draft.parentId.toHexString())
      if (!parent || isVoid(parent) || !parent.cid.equals(head._id)) {
        return problem('validation_failed', {
          errors: [{ pointer: '/parentId', detail: 'must name a message of the same conversation' }],
        })
      }
    }
    if (draft.author.startsWith('agent:') && agentRun >= hopLimit) return problem('agent_loop')
    return null
  }

  /**
   * Reads the heads, refuses what is not allowed, and gives everything else a number. Writes nothing: if it rejects, no
   * entry of the batch has been stored.
   */
  return async function admit(batch: ReadonlyMap<Lane, readonly Entry[]>): Promise<Admission> {
    const parents = [...batch.values()].flatMap((entries) =>
      entries.flatMap(({ draft }) => draft.parentId ?? []),
    )
    const [heads, parentRows] = await Promise.all([
      conversations
        .find<Head>(
          { _id: { $in: [...batch.keys()].map(({ cid }) => cid) } },
          { projection: HEAD, batchSize: 1_000 },
        )
        .toArray(),
      parents.length === 0 ? [] : store.byIds(parents, { cid: 1, void: 1 }),
    ])
    const headOf = new Map(heads.map((head) => [head._id.toHexString(), head]))
    const wanted = [...batch].map(([lane, entries]) => {
      const head = headOf.get(lane.id)
      const isTheirs = head && !head.deletedAt && head.org === entries[0]?.org
      // The same query where there is none, or none of theirs.
      const asked = isTheirs ? head : { _id: new ObjectId(), membersRev: new ObjectId(), participantCount: 0 }
      return { ...asked, cid: asked._id, authors: entries.map(({ draft }) => draft.author) }
    })
    const contended = [...batch.keys()].filter((lane) => lane.contended && headOf.has(lane.id))
    const [tailOf] = await Promise.all([
      store.tails(
        contended.map((lane) => ({ cid: lane.cid, settledSeq: headOf.get(lane.id)?.settledSeq ?? 0 })),
        { seq: 1, cid: 1, author: 1, void: 1 },
      ),
      participantCache.load(wanted),
    ])
    const parentOf = new Map(parentRows.map((row) => [row._id.toHexString(), row]))

    const now = new Date()
    const admission: Admission = { admitted: [], refused: [] }
    for (const [lane, entries] of batch) {
      const head = headOf.get(lane.id)
      const tailRead = lane.contended
      const again: Entry[] = []
      let { seq, agentRun } = head ? place(lane, head, tailOf.get(lane.id) ?? []) : { seq: 0, agentRun: 0 }
      lane.contended = false
      // Lower and upper bound of the agent run: a message with an idempotency key may turn out to be a repeat, which
      // does not count.
      let [least, most] = [agentRun, agentRun]
      for (const entry of entries) {
        if (entry.done) continue
        const refusal = refusalOf(entry, head, most, parentOf)
        if (refusal?.code === 'agent_loop' && (!tailRead || least < hopLimit)) {
          // A person may have written, here or through another process: only the tail can tell.
          again.push(entry)
          continue
        }
        if (refusal || !head) {
          admission.refused.push({ lane, entry, refusal: refusal ?? problem('not_found') })
          continue
        }
        seq++
        const { author, clientMessageId } = entry.draft
        agentRun = nextAgentRun(agentRun, author)
        const runs = [least, most].map((run) => nextAgentRun(run, author))
        if (clientMessageId !== undefined) runs.push(least, most)
        least = Math.min(...runs)
        most = Math.max(...runs)
        const row: MessageDocument = {
          ...entry.draft,
          cid: lane.cid,
          org: entry.org,
          seq,
          createdAt: now,
          unsettled: true,
        }
        if (row.status === 'streaming') row.streamedAt = now
        admission.admitted.push({
          lane,
          entry,
          row,
          agentRun,
          to: participantCache.recipients(head.membersRev),
        })
      }
      if (again.length > 0) {
        lane.contended = true
        lane.waiting.unshift(...again)
      }
    }
    return admission
  }
}
