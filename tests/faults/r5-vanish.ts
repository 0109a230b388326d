import { setTimeout as delay } from 'node:timers/promises'
import type { Member } from '../support/member.ts'
import { comesTrue } from '../support/until.ts'
import type { Bed } from './bed.ts'
import { type Chat, runChat } from './chat.ts'
import type { Row } from './row.ts'

export interface VanishSize {
  times: number
  atOnce: number
  messages: number
  /** Rest (ms) of each member after a message: they talk through all absences. Without it as fast as it goes. */
  restMs?: number
  awayMs: [number, number]
}

export const r5: Row<VanishSize, Bed> = {
  name: 'R5',
  title: 'clients vanish and return on another gateway',
  short: { times: 48, atOnce: 6, messages: 600, awayMs: [20, 700] },
  full: (minutes) => ({
    // A round takes as long as its longest absence, so many go at once.
    times: Math.min(5_000, Math.ceil(minutes * 450)),
    atOnce: 240,
    messages: 2_000,
    restMs: 1_500,
    awayMs: [1_000, 30_000],
  }),
  async run(bed, { random, size, log }) {
    const vanishing = async (chat: Chat, room: Chat['rooms'][number], member: Member): Promise<void> => {
      const away = random.int(...size.awayMs)
      member.vanish(away)
      await comesTrue(() => member.connected, away + 10_000)
      const mark = chat.acknowledged(room.id)
      const complete = await comesTrue(() => (member.log.at(-1)?.seq ?? 0) >= mark, 10_000)
      if (!complete) chat.faults.push(`${member.name}: not complete 10 s after its return`)
    }
    const rounds = Math.ceil(size.times / size.atOnce)
    const { faults, figures } = await runChat(bed, {
      rooms: Math.ceil(size.atOnce / 3),
      members: ['bare', 'sdk', 'bare', 'bare'],
      messages: size.messages,
      ...(size.restMs === undefined ? {} : { throughout: size.restMs }),
      lanes: 1,
      // A message may have to wait through two absences.
      timeoutMs: 45_000 + 2 * size.awayMs[1],
      steps: Array.from({ length: rounds }, (_, round) => async (chat) => {
        log(`${size.atOnce} vanish, round ${round + 1}/${rounds}`)
        const everyone = chat.rooms.flatMap((room) => room.members.map((member) => ({ room, member })))
        const chosen = random.shuffle(everyone).slice(0, size.atOnce)
        await Promise.all(chosen.map(({ room, member }) => vanishing(chat, room, member)))
        // Whoever came back last and is chosen again has a moment to send what waited.
        await delay(2 * (size.restMs ?? 0))
      }),
      settleMs: 10_000,
    })
    return { faults, figures: { ...figures, vanished: rounds * size.atOnce } }
  },
}
