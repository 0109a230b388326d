import { ParticipantType } from '@parley/contract'
import { z } from 'zod'

/** A participant of an org. */
export interface Person {
  orgId: string
  type: ParticipantType
  id: string
}

/** What a gateway holds in Redis: a socket of a person, or a person's place in a room. */
export type Holding =
  | ({ kind: 'person'; socket: string } & Person)
  | { kind: 'room'; conversationId: string; type: ParticipantType; id: string }

const Stored = z.union([
  z.tuple([z.literal('person'), z.string(), ParticipantType, z.string(), z.string()]),
  z.tuple([z.literal('room'), z.string(), ParticipantType, z.string()]),
])

/** One string for each holding; also its name in the list of what a generation holds. */
export const encodeHolding = (holding: Holding): string =>
  JSON.stringify(
    holding.kind === 'person'
      ? ['person', holding.orgId, holding.type, holding.id, holding.socket]
      : ['room', holding.conversationId, holding.type, holding.id],
  )

/** @throws ZodError, SyntaxError for what {@link encodeHolding} didn't make */
export function decodeHolding(text: string): Holding {
  const stored = Stored.parse(JSON.parse(text))
  if (stored[0] === 'person') {
    const [kind, orgId, type, id, socket] = stored
    return { kind, orgId, type, id, socket }
  }
  const [kind, conversationId, type, id] = stored
  return { kind, conversationId, type, id }
}
