import type { VerifiedToken } from '@parley/auth'
import { participantKey } from '@parley/contract'
import type { Logger } from '@parley/service-kit'
import { LRUCache } from 'lru-cache'
import type { Collections, ProfileDocument } from '../database/collections.ts'
import { isDuplicateKey } from '../database/duplicate-key.ts'

/** Milliseconds in which new names are gathered. */
const FLUSH_MS = 200
/** Most people remembered as written. */
const MAX_PEOPLE = 50_000

interface Seen {
  org: string
  key: string
  name: string | null
  picture: string | null
  issuedAt: number
}

/** A name that begins with `$` is not the name of a field. */
const literal = (value: string | null) => (value === null ? '$$REMOVE' : { $literal: value })

export type Profiles = ReturnType<typeof createProfiles>

/**
 * Names and pictures, as people's newest tokens show them, kept for those who look at a conversation while its
 * participants are away. Requests only leave a note in memory; writing happens in the background, and only of what
 * changed.
 */
export function createProfiles(options: {
  profiles: Collections['profiles']
  participants: Collections['participants']
  logger: Logger
}) {
  const { profiles, participants, logger } = options
  const known = new LRUCache<string, Seen>({ max: MAX_PEOPLE })
  let waiting = new Map<string, Seen>()
  let timer: NodeJS.Timeout | undefined
  let writing: Promise<void> = Promise.resolve()

  function seen({ caller, issuedAt }: VerifiedToken): void {
    const key = participantKey(caller)
    const slot = `${caller.orgId}\n${key}`
    const before = known.get(slot)
    if (before && issuedAt <= before.issuedAt) return
    const now: Seen = { org: caller.orgId, key, name: caller.name, picture: caller.picture, issuedAt }
    known.set(slot, now)
    if (before?.name === now.name && before.picture === now.picture) return
    if (now.name === null && now.picture === null && !before) return
    waiting.set(slot, now)
    timer ??= setTimeout(() => void flush(), FLUSH_MS)
  }

  function flush(): Promise<void> {
    clearTimeout(timer)
    timer = undefined
    const batch = [...waiting.values()]
    waiting = new Map()
    if (batch.length > 0) {
      writing = writing
        .then(() => write(batch))
        .catch((error: unknown) => {
          logger.warn({ err: error }, 'names could not be written')
          for (const { org, key } of batch) known.delete(`${org}\n${key}`)
        })
    }
    return writing
  }

  async function write(batch: Seen[]): Promise<void> {
    const ids = batch.map(({ org, key }) => ({ org, key }))
    const stored = await profiles.find({ _id: { $in: ids } }).toArray()
    const byId = new Map(stored.map((row) => [`${row._id.org}\n${row._id.key}`, row]))
    const changed = batch.filter(({ org, key, name, picture, issuedAt }) => {
      const row = byId.get(`${org}\n${key}`)
      // Another process may have seen a newer token.
      if (issuedAt < (row?.issuedAt ?? 0)) return false
      // Also what was stored by a process that then could not show it.
      return row?.unshown === true || (row?.name ?? null) !== name || (row?.picture ?? null) !== picture
    })
    for (const person of changed) {
      if (!(await store(person))) continue
      await show(person)
      const { org, key, issuedAt } = person
      await profiles.updateOne({ _id: { org, key }, issuedAt }, { $unset: { unshown: 1 } })
    }
  }

  /** False: another process has stored what a newer token shows. */
  async function store({ org, key, name, picture, issuedAt }: Seen): Promise<boolean> {
    const profile: Omit<ProfileDocument, '_id'> = { issuedAt, unshown: true }
    if (name !== null) profile.name = name
    if (picture !== null) profile.picture = picture
    const older = { _id: { org, key }, issuedAt: { $not: { $gt: issuedAt } } }
    try {
      await profiles.replaceOne(older, profile, { upsert: true })
      return true
    } catch (error) {
      if (!isDuplicateKey(error)) throw error
      // It is there by now: from a newer token, or from an older one that was stored at the same moment.
      const { matchedCount } = await profiles.replaceOne(older, profile)
      return matchedCount > 0
    }
  }

  /** Where the person takes part; what another process stores meanwhile is shown after it. */
  async function show({ org, key, name, picture, issuedAt }: Seen): Promise<void> {
    // Fields set to undefined are ignored, but what the token no longer shows has to go.
    await participants.updateMany({ org, key }, [
      { $set: { name: literal(name), avatarUrl: literal(picture) } },
    ])
    const newer = await profiles.findOne({ _id: { org, key }, issuedAt: { $gt: issuedAt } })
    if (newer) {
      const { name = null, picture = null, issuedAt = 0 } = newer
      await show({ org, key, name, picture, issuedAt })
    }
  }

  return {
    seen,
    /** Names and pictures by participant key; people who have not shown a token are left out. */
    async of(
      org: string,
      keys: readonly string[],
    ): Promise<Map<string, { name: string | null; picture: string | null }>> {
      await flush()
      const rows = await profiles.find({ _id: { $in: keys.map((key) => ({ org, key })) } }).toArray()
      return new Map(
        rows.map(({ _id, name, picture }) => [_id.key, { name: name ?? null, picture: picture ?? null }]),
      )
    },
    /** Writes what waits. */
    close: flush,
  }
}
