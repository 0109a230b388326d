import type { Caller } from '@parley/contract'
import { isAdmin, type ParticipantRef, type ParticipantRole } from '@parley/contract'

/**
 * Who may do what, in one place. The words:
 * - `open`: anybody, without a token; `service`: one of our own services;
 * - `any`: any user or agent of an org; `admin`: an admin of the org;
 * - `participant`: participants of the conversation, and admins;
 * - `takes_part`: participants only; an admin who is not one gets a 403, since they may see the conversation;
 * - `sender`: owners and members, and nobody else: admins write only where they take part;
 * - `writer`: owners, members, and admins;
 * - `owner`: owners, and admins;
 * - `author_or_owner`: the author, owners, and admins;
 * - `owner_or_self`: the person concerned, owners, and admins;
 * - `agent_or_admin`: the agent named in the path, and admins.
 */
export const permissions = {
  open: 'open',
  service: 'service',

  'identity:me': 'any',
  'identity:revoke': 'admin',

  'conversation:create': 'any',
  'conversation:list': 'any',
  'conversation:list-mine': 'any',
  'conversation:list-agent': 'any',
  'conversation:auto': 'agent_or_admin',
  'conversation:read': 'participant',
  'conversation:update': 'owner',
  'conversation:delete': 'owner',
  'conversation:status': 'owner',
  'conversation:summarize': 'writer',
  'conversation:context': 'participant',
  'conversation:mark-read': 'takes_part',
  'conversation:changes': 'participant',
  'conversation:audit': 'owner',
  'conversation:join': 'participant',

  'participant:list': 'participant',
  'participant:add': 'owner',
  'participant:remove': 'owner_or_self',

  'message:create': 'sender',
  'message:list': 'participant',
  'message:search': 'participant',
  'message:statistics': 'participant',
  'message:read': 'participant',
  'message:delete': 'author_or_owner',
  'message:stream': 'sender',
  'message:cancel': 'participant',

  'presence:read': 'any',
  'presence:list': 'admin',
} as const

export type Permission = keyof typeof permissions
export type Rule = (typeof permissions)[Permission]
export type Verdict = 'allow' | 'forbidden' | 'not_found'

export const isPermission = (name: unknown): name is Permission =>
  typeof name === 'string' && Object.hasOwn(permissions, name)

const isSame = (a: ParticipantRef | undefined, b: ParticipantRef): boolean =>
  a !== undefined && a.type === b.type && a.id === b.id

const allowIf = (condition: boolean): Verdict => (condition ? 'allow' : 'forbidden')

/**
 * Whether the caller may do this. `membership` is their part in the conversation, null without one; the conversation is
 * of the caller's org (another org's counts as not existing). `subject` is the author of the message, the participant
 * to be removed, or the agent in the path, if the rule concerns one.
 */
export function authorize(
  permission: Permission,
  caller: Caller,
  membership: { role: ParticipantRole } | null,
  subject?: ParticipantRef,
): Verdict {
  const rule: Rule = permissions[permission]
  const admin = isAdmin(caller)
  switch (rule) {
    case 'open':
    case 'any':
      return 'allow'
    case 'service':
      return 'forbidden'
    case 'admin':
      return allowIf(admin)
    case 'agent_or_admin':
      return allowIf(admin || isSame(subject, caller))
    default:
      if (!membership && !admin) return 'not_found'
      return inConversation(rule, caller, admin, membership?.role ?? null, subject)
  }
}

type ConversationRule = Exclude<Rule, 'open' | 'any' | 'service' | 'admin' | 'agent_or_admin'>

function inConversation(
  rule: ConversationRule,
  caller: Caller,
  admin: boolean,
  role: ParticipantRole | null,
  subject: ParticipantRef | undefined,
): Verdict {
  const writes = role === 'owner' || role === 'member'
  switch (rule) {
    case 'participant':
      return 'allow'
    case 'takes_part':
      return allowIf(role !== null)
    case 'sender':
      return allowIf(writes)
    case 'writer':
      return allowIf(writes || admin)
    case 'owner':
      return allowIf(role === 'owner' || admin)
    case 'author_or_owner':
    case 'owner_or_self':
      return allowIf(role === 'owner' || admin || isSame(subject, caller))
  }
}
