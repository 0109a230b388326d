import { ParticipantType } from '@parley/contract'
import { z } from 'zod'

/** A participant of an org. */
export interface Person {
  orgId: string
  type: ParticipantType
  id: string
}

/** What a gateway registers in Redis: a socket of a person, or a person in a room. */
export type Registration =
  | ({ kind: 'person'; socket: string } & Person)
  | { kind: 'room'; conversationId: string; type: ParticipantType; id: string }

const Stored = z.union([
  z.tuple([z.literal('person'), z.string(), ParticipantType, z.string(), z.string()]),
  z.tuple([z.literal('room'), z.string(), ParticipantType, z.string()]),
])

/** A registration as a string; also its name in the list of what a generation holds. */
export const encodeRegistration = (registration: Registration): string =>
  JSON.stringify(
    registration.kind === 'person'
      ? ['person', registration.orgId, registration.type, registration.id, registration.socket]
      : ['room', registration.conversationId, registration.type, registration.id],
  )

/** @throws ZodError, SyntaxError for what {@link encodeRegistration} didn't make */
export function decodeRegistration(text: string): Registration {
  const stored = Stored.parse(JSON.parse(text))
  if (stored[0] === 'person') {
    const [kind, orgId, type, id, socket] = stored
    return { kind, orgId, type, id, socket }
  }
  const [kind, conversationId, type, id] = stored
  return { kind, conversationId, type, id }
}
