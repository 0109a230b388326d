import { z } from 'zod'
import { OpaqueId, TextOfLength } from './primitives.ts'

export const ParticipantType = z.enum(['user', 'agent'])
export type ParticipantType = z.infer<typeof ParticipantType>

export const OrgRole = z.enum(['member', 'admin'])
export type OrgRole = z.infer<typeof OrgRole>

/** Who a person or agent is within an org. */
export const ParticipantRef = z.strictObject({ type: ParticipantType, id: OpaqueId })
export type ParticipantRef = z.infer<typeof ParticipantRef>

/** Who makes a request, as read from a verified token. */
export const Caller = z.strictObject({
  type: ParticipantType,
  id: OpaqueId,
  orgId: OpaqueId,
  roles: z.array(OrgRole),
  name: z.string().nullable(),
  picture: z.string().nullable(),
})
export type Caller = z.infer<typeof Caller>

export const isAdmin = (caller: Pick<Caller, 'roles'>): boolean => caller.roles.includes('admin')

/** A participant within its org as one string: `user:ada`. The type has no colon, so it can be taken apart. */
export const participantKey = ({ type, id }: ParticipantRef): string => `${type}:${id}`

export function parseParticipantKey(key: string): ParticipantRef {
  const colon = key.indexOf(':')
  return { type: ParticipantType.parse(key.slice(0, colon)), id: key.slice(colon + 1) }
}

export const DevTokenRequest = z.strictObject({
  sub: OpaqueId,
  type: ParticipantType.default('user'),
  orgId: OpaqueId,
  roles: z.array(OrgRole).max(2).optional(),
  name: TextOfLength(200).optional(),
  /** Seconds, at most a day. */
  expiresIn: z.int().min(1).max(86_400).optional(),
})
export const DevTokenResponse = z.strictObject({ token: z.string(), expiresAt: z.iso.datetime() })

export const RevokeRequest = ParticipantRef

export const Me = z
  .strictObject({
    type: ParticipantType,
    id: OpaqueId,
    orgId: OpaqueId,
    roles: z.array(OrgRole),
    name: z.string().nullable(),
    unread: z.strictObject({ conversations: z.int().min(0), messages: z.int().min(0) }),
  })
  .meta({ id: 'Me' })
export type Me = z.infer<typeof Me>
