/** Someone in a conversation, with a log of what reached them; over the bare socket or the SDK. */
export interface Member {
  name: string
  conversationId: string
  /** Messages as they were handed over, in that order. */
  readonly log: readonly Delivered[]
  /** Ids of the messages that it knows as deleted. */
  readonly deleted: ReadonlySet<string>
  /** Breaks of the promise that show on the way: a repeat, a step back, a gap without `resync`. */
  readonly faults: readonly string[]
  /** Times that the server said `resync`. */
  readonly resyncs: number
  readonly connected: boolean
  /** Resolves when the conversation is joined; goes on from what it holds if it had been there before. */
  join(): Promise<void>
  /** Resolves when it is out of the room; it stays connected. Not while a `join` is under way. */
  leave(): Promise<void>
  /** Resolves once the message is acknowledged, however many tries it takes. */
  send(content: string, clientMessageId: string): Promise<Acknowledged>
  /** Loses the connection as a phone in a tunnel would, and stays away for `ms`; then another gateway is used. */
  vanish(ms: number): void
  /** Ids of the people whom the server says have a socket in the room. */
  online(): Promise<string[]>
  close(): void
}

export interface Delivered {
  id: string
  seq: number
  clientMessageId: string | null
}

export interface Acknowledged extends Delivered {
  /** Milliseconds from the first try to the acknowledgement. */
  tookMs: number
}

export interface MemberOptions {
  name: string
  conversationId: string
  apiUrls: readonly string[]
  /** The first one is used first. */
  gatewayUrls: readonly string[]
  token: string
  /** Of a bare member: websocket unless it says otherwise; `upgrade` is polling first, as Socket.IO does by default. */
  transport?: 'websocket' | 'polling' | 'upgrade'
  /** Of a bare member: called with each message as it is handed over. */
  heard?(message: Delivered): void
}

/**
 * What a log says against the promise, given all that is stored and all that was acknowledged. Empty: each stored
 * message once, in order, and each acknowledged one among them.
 */
export function deliveryFaults(
  member: Pick<Member, 'name' | 'log' | 'faults'>,
  stored: readonly Delivered[],
): string[] {
  const faults = member.faults.map((fault) => `${member.name}: ${fault}`)
  const seen = new Set<string>()
  let last = 0
  for (const { id, seq } of member.log) {
    if (seen.has(id)) faults.push(`${member.name}: ${seq} twice`)
    else if (seq <= last) faults.push(`${member.name}: ${seq} after ${last}`)
    seen.add(id)
    last = Math.max(last, seq)
  }
  const lost = stored.filter(({ id }) => !seen.has(id)).map(({ seq }) => seq)
  if (lost.length > 0) faults.push(`${member.name}: lost ${lost.length}: ${lost.slice(0, 10).join(', ')}`)
  const known = new Set(stored.map(({ id }) => id))
  const unknown = member.log.filter(({ id }) => !known.has(id))
  if (unknown.length > 0)
    faults.push(`${member.name}: got what is not stored: ${unknown.map(({ seq }) => seq)}`)
  return faults
}

/** What the stored messages say against the promise: numbers rise, and what was acknowledged is there, once. */
export function storageFaults(stored: readonly Delivered[], acknowledged: readonly Delivered[]): string[] {
  const faults: string[] = []
  const byId = new Map(stored.map((message) => [message.id, message]))
  const keys = new Map<string, number>()
  let last = 0
  for (const { seq, clientMessageId } of stored) {
    if (seq <= last) faults.push(`stored: ${seq} after ${last}`)
    last = seq
    if (clientMessageId) keys.set(clientMessageId, (keys.get(clientMessageId) ?? 0) + 1)
  }
  for (const [key, count] of keys) if (count > 1) faults.push(`stored: ${key} ${count} times`)
  for (const { id, seq } of acknowledged) {
    const found = byId.get(id)
    if (!found) faults.push(`acknowledged and not stored: ${seq}`)
    else if (found.seq !== seq) faults.push(`acknowledged as ${seq}, stored as ${found.seq}`)
  }
  return faults
}
