import { setTimeout as delay } from 'node:timers/promises'
import { type Acknowledged, deliveryFaults, type Member, storageFaults } from '../support/member.ts'
import { comesTrue } from '../support/until.ts'
import type { Bed, MemberKind } from './bed.ts'
import { percentile, type Report } from './row.ts'

export interface ChatPlan {
  /** Conversations side by side. */
  rooms: number
  /** In each conversation: the kind of each member, spread over the gateways. */
  members: readonly MemberKind[]
  /** Messages in all; with `throughout` at least. */
  messages: number
  /**
   * Send all through the steps, however long they take, with this rest (ms) after each message. Otherwise sending
   * waits where a step lags behind its share of the messages.
   */
  throughout?: number
  /** Messages that one member has under way at a time. */
  lanes: number
  /** What goes wrong meanwhile. Steps are spread evenly over the messages; sending goes on during each. */
  steps: readonly ChatStep[]
  /** Milliseconds after the last message within which everybody must have all. */
  settleMs: number
  /** Milliseconds that a join or a send may take (45,000): everything is well again long before. */
  timeoutMs?: number
  /** Keep the members for more; otherwise they are closed. */
  keep?: boolean
}

export type ChatStep = (chat: Chat) => Promise<void>

export interface Chat {
  rooms: readonly { id: string; owner: string; members: readonly Member[] }[]
  /** Faults that a step finds by itself. */
  faults: string[]
  /** The highest acknowledged seq of a room. */
  acknowledged(roomId: string): number
  close(): void
}

/** People talk while things break; then everyone's log is held against what is stored. */
export async function runChat(bed: Bed, plan: ChatPlan): Promise<Report & { chat: Chat }> {
  const { chat, acked } = await openChat(bed, plan)
  const begun = performance.now()
  try {
    await talk(chat, plan, acked)
    const seconds = (performance.now() - begun) / 1000
    const report = await settle(bed, chat, plan, acked)
    const times = [...acked.values()].flat().map(({ tookMs }) => tookMs)
    return {
      chat,
      faults: report.faults,
      figures: {
        acknowledged: times.length,
        steps: plan.steps.length,
        perSecond: Math.round(times.length / seconds),
        sendP50: percentile(times, 0.5),
        sendP99: percentile(times, 0.99),
        ...report.figures,
      },
    }
  } finally {
    if (!plan.keep) chat.close()
  }
}

let chats = 0

async function openChat(bed: Bed, plan: ChatPlan) {
  const prefix = `chat${++chats}`
  const rooms = await Promise.all(
    Array.from({ length: plan.rooms }, async (_, index) => {
      const people = plan.members.map((_, who) => `${prefix}-${index}-${who}`)
      const id = await bed.conversation(people)
      const members = plan.members.map((kind, who) => bed.member(kind, people[who] ?? '', id, who + index))
      return { id, owner: people[0] ?? '', members }
    }),
  )
  await Promise.all(
    rooms.flatMap(({ members }) => members.map((member) => inTime(member.join(), member, plan))),
  )
  const acked = new Map<string, Acknowledged[]>(rooms.map(({ id }) => [id, []]))
  const chat: Chat = {
    rooms,
    faults: [],
    acknowledged: (id) => (acked.get(id) ?? []).reduce((highest, { seq }) => Math.max(highest, seq), 0),
    close() {
      for (const { members } of rooms) for (const member of members) member.close()
    },
  }
  return { chat, acked }
}

async function talk(chat: Chat, plan: ChatPlan, acked: Map<string, Acknowledged[]>): Promise<void> {
  const stretch = plan.messages / (plan.steps.length + 1)
  let begun = 0
  let done = 0
  let stepsDone = 0
  /** Sending pauses where a step lags behind, so that each step has its share of messages around it. */
  let turnstile = Promise.withResolvers<void>()
  let moved = Promise.withResolvers<void>()

  const lane = async (member: Member): Promise<void> => {
    const { throughout } = plan
    while (begun < plan.messages || (throughout !== undefined && stepsDone < plan.steps.length)) {
      if (throughout !== undefined) await delay(throughout)
      else if (begun >= (stepsDone + 1) * stretch) {
        await turnstile.promise
        continue
      }
      const number = begun++
      try {
        const key = `${member.name}-${number}`
        const sent = await inTime(member.send(`Line ${number} of ${member.name}`, key), member, plan)
        acked.get(member.conversationId)?.push(sent)
      } catch (error) {
        chat.faults.push(`send of ${member.name}-${number} failed: ${error}`)
      }
      done += 1
      moved.resolve()
      moved = Promise.withResolvers()
    }
  }
  const trouble = async (): Promise<void> => {
    for (const [index, step] of plan.steps.entries()) {
      while (done < (index + 0.5) * stretch) await moved.promise
      await step(chat)
      stepsDone = index + 1
      turnstile.resolve()
      turnstile = Promise.withResolvers()
    }
  }
  const lanes = chat.rooms.flatMap(({ members }) =>
    members.flatMap((member) => Array.from({ length: plan.lanes }, () => lane(member))),
  )
  await Promise.all([...lanes, trouble()])
}

function inTime<T>(work: Promise<T>, member: Member, { timeoutMs = 45_000 }: ChatPlan): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      const state = member.connected ? 'connected' : 'away'
      reject(new Error(`${member.name} (${state}) waits over ${timeoutMs} ms; ${member.faults.join('; ')}`))
    }, timeoutMs)
    work.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}

async function settle(
  bed: Bed,
  chat: Chat,
  plan: ChatPlan,
  acked: Map<string, Acknowledged[]>,
): Promise<Report> {
  const faults = [...chat.faults]
  const begun = performance.now()
  let resyncs = 0
  for (const { id, owner, members } of chat.rooms) {
    const stored = await bed.stored(id, owner)
    const last = stored.at(-1)?.seq ?? 0
    const left = Math.max(100, plan.settleMs - (performance.now() - begun))
    await comesTrue(() => members.every((member) => (member.log.at(-1)?.seq ?? 0) >= last), left)
    faults.push(...storageFaults(stored, acked.get(id) ?? []))
    for (const member of members) {
      faults.push(...deliveryFaults(member, stored))
      resyncs += member.resyncs
    }
  }
  return { faults, figures: { resyncs, settleMs: Math.round(performance.now() - begun) } }
}
