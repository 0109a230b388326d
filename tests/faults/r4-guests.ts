import { createHttp } from '../support/http.ts'
import type { Member } from '../support/member.ts'
import { comesTrue } from '../support/until.ts'
import type { Bed } from './bed.ts'
import type { Chat } from './chat.ts'

/** Two in a conversation who say nothing: one is there and the other is not, and now and then they change places. */
export async function createGuests(bed: Bed, { id, owner }: Chat['rooms'][number]) {
  const names = ['in', 'out'].map((which) => `${owner}-${which}`)
  for (const name of names) {
    const participant = { type: 'user', id: name, role: 'observer' }
    await bed.http(owner).sure('POST', `/conversations/${id}/participants`, participant)
  }
  let guest: Member | undefined
  let turn = 0

  /** Where the servers say of them what is not so: each gateway by HTTP, and the room as `asked` sees it. */
  async function wrong(asked: readonly Member[]): Promise<string[]> {
    const faults: string[] = []
    for (const name of names) {
      const isHere = name === guest?.name
      const told = `${name} is ${isHere ? '' : 'not '}there`
      for (const url of bed.gatewayUrls) {
        const { body } = await createHttp([url], bed.token(owner)).once<{ status?: string }>(
          'GET',
          `/presence/user/${name}`,
        )
        if (body.status !== (isHere ? 'online' : 'offline')) faults.push(`${told}, by HTTP ${body.status}`)
      }
      for (const member of asked) {
        if ((await member.online()).includes(name) !== isHere)
          faults.push(`${told}, not so for ${member.name}`)
      }
    }
    return faults
  }

  return {
    wrong,
    async swap(): Promise<void> {
      guest?.close()
      guest = bed.member('bare', names[turn % 2] ?? '', id, turn)
      turn += 1
      await guest.join()
    },
    close: () => guest?.close(),
  }
}
export type Guests = Awaited<ReturnType<typeof createGuests>>

/** What is still wrong of them after `ms`. */
export async function wrongAfter(ms: number, chat: Chat, guests: readonly Guests[]): Promise<string[]> {
  let found: string[] = []
  const look = async () => {
    const all = guests.map((guest, index) => guest.wrong(chat.rooms[index]?.members ?? []))
    // A gateway that does not answer at the moment may do so at the next look.
    found = await Promise.all(all).then(
      (lists) => lists.flat(),
      (error: unknown) => [`${error}`],
    )
    return found.length === 0
  }
  await comesTrue(look, ms)
  return found
}
