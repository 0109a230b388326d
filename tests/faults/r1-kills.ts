import { setTimeout as delay } from 'node:timers/promises'
import type { Random } from '../support/random.ts'
import type { Bed, MemberKind } from './bed.ts'
import { type ChatStep, runChat } from './chat.ts'
import type { Row } from './row.ts'

/** SIGKILL, a moment without the process, and a restart on its port with its data. */
export function killSteps(bed: Bed, random: Random, count: number, log: (line: string) => void): ChatStep[] {
  const names = bed.stack.processes()
  const targets = random.shuffle(names)
  while (targets.length < count) targets.push(random.pick(names))
  return targets.slice(0, count).map((name, index) => async () => {
    const down = random.int(0, 400)
    log(`kill ${index + 1}/${count}: ${name}, back after ${down} ms`)
    await bed.stack.kill(name)
    await delay(down)
    await bed.stack.start(name)
  })
}

export interface KillsSize {
  messages: number
  /** At least as many as there are processes: each is killed once before any is killed again. */
  kills: number
  rooms: number
  members: readonly MemberKind[]
}

export const r1: Row<KillsSize, Bed> = {
  name: 'R1',
  title: 'every process and store is killed while people talk',
  short: { messages: 1_000, kills: 7, rooms: 1, members: ['bare', 'sdk', 'bare'] },
  full: (minutes) => ({
    messages: Math.max(1_000, Math.min(100_000, minutes * 3_500)),
    kills: Math.max(7, Math.min(200, Math.round(minutes * 4))),
    rooms: 8,
    members: ['sdk', 'sdk', 'bare', 'sdk'],
  }),
  async run(bed, { random, size, log }) {
    const { faults, figures } = await runChat(bed, {
      rooms: size.rooms,
      members: size.members,
      messages: size.messages,
      lanes: 4,
      steps: killSteps(bed, random, size.kills, log),
      settleMs: 15_000,
    })
    return { faults, figures }
  },
}
