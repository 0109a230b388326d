import type { ChatSocket } from '../sockets.ts'

export type People = ReturnType<typeof createPeople>

const NOBODY: ReadonlySet<ChatSocket> = new Set()

/** The sockets of this gateway by org and participant key (`user:ada`). */
export function createPeople() {
  const orgs = new Map<string, Map<string, Set<ChatSocket>>>()
  return {
    add(socket: ChatSocket): void {
      const { orgId, key } = socket.data
      const org = orgs.get(orgId) ?? new Map<string, Set<ChatSocket>>()
      orgs.set(orgId, org)
      const sockets = org.get(key)
      if (sockets) sockets.add(socket)
      else org.set(key, new Set([socket]))
    },
    remove(socket: ChatSocket): void {
      const { orgId, key } = socket.data
      const org = orgs.get(orgId)
      const sockets = org?.get(key)
      if (!org || !sockets?.delete(socket)) return
      if (sockets.size === 0) org.delete(key)
      if (org.size === 0) orgs.delete(orgId)
    },
    isEmpty: (): boolean => orgs.size === 0,
    /** Everybody with a socket here: org and key. */
    *all(): Iterable<[orgId: string, key: string]> {
      for (const [orgId, org] of orgs) for (const key of org.keys()) yield [orgId, key]
    },
    /** Whether anybody of this org has a socket here. */
    hasOrg: (orgId: string): boolean => orgs.has(orgId),
    /** Their sockets here. */
    of: (orgId: string, key: string): ReadonlySet<ChatSocket> => orgs.get(orgId)?.get(key) ?? NOBODY,
  }
}
