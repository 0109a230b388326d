import type { Caller, ParticipantRef, ParticipantRole } from '@parley/contract'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { authorize, isPermission, type Permission, permissions } from './permissions.ts'

const names = Object.keys(permissions) as Permission[]
const person = (id: string, roles: Caller['roles'] = []): Caller => ({
  type: 'user',
  id,
  orgId: 'acme',
  roles,
  name: null,
  picture: null,
})
const as = (role: ParticipantRole) => ({ role })

const caller = fc.record({
  type: fc.constantFrom('user' as const, 'agent' as const),
  id: fc.constantFrom('ada', 'bob'),
  orgId: fc.constant('acme'),
  roles: fc.subarray(['member', 'admin'] as const),
  name: fc.constant(null),
  picture: fc.constant(null),
})
const membership = fc.option(
  fc.record({ role: fc.constantFrom('owner', 'member', 'observer') as fc.Arbitrary<ParticipantRole> }),
)
const subject: fc.Arbitrary<ParticipantRef | undefined> = fc.option(
  fc.record({ type: fc.constantFrom('user' as const, 'agent' as const), id: fc.constantFrom('ada', 'bob') }),
  { nil: undefined },
)

describe('the permission table', () => {
  it('never lets an outsider see that a conversation exists', () => {
    fc.assert(
      fc.property(fc.constantFrom(...names), caller, subject, (name, who, about) => {
        fc.pre(!who.roles.includes('admin'))
        fc.pre(!['open', 'any', 'service', 'admin', 'agent_or_admin'].includes(permissions[name]))
        return authorize(name, who, null, about) === 'not_found'
      }),
    )
  })

  it('never tells a participant, or an admin, that it does not exist', () => {
    fc.assert(
      fc.property(fc.constantFrom(...names), caller, membership, subject, (name, who, part, about) => {
        fc.pre(part !== null || who.roles.includes('admin'))
        return authorize(name, who, part, about) !== 'not_found'
      }),
    )
  })

  it('lets an owner do everything a member may, and a member everything an observer may', () => {
    fc.assert(
      fc.property(fc.constantFrom(...names), caller, subject, (name, who, about) => {
        const allowed = (role: ParticipantRole) => authorize(name, who, as(role), about) === 'allow'
        return (!allowed('observer') || allowed('member')) && (!allowed('member') || allowed('owner'))
      }),
    )
  })

  it('lets admins manage everything, and write only where they take part', () => {
    const admin = person('root', ['admin'])
    const refused = names.filter((name) => authorize(name, admin, null) !== 'allow')
    expect(refused).toEqual(['service', 'conversation:mark-read', 'message:create', 'message:stream'])
    expect(authorize('message:create', admin, as('observer'))).toBe('forbidden')
    expect(authorize('message:create', admin, as('member'))).toBe('allow')
  })

  it('knows authors, oneself, and the agent of a path by type and id', () => {
    const ada = person('ada')
    const agentAda: Caller = { ...ada, type: 'agent' }
    for (const name of ['message:delete', 'participant:remove'] as const) {
      expect(authorize(name, ada, as('observer'), { type: 'user', id: 'ada' })).toBe('allow')
      expect(authorize(name, ada, as('member'), { type: 'agent', id: 'ada' })).toBe('forbidden')
      expect(authorize(name, ada, as('owner'), { type: 'user', id: 'bob' })).toBe('allow')
    }
    expect(authorize('conversation:auto', agentAda, null, { type: 'agent', id: 'ada' })).toBe('allow')
    expect(authorize('conversation:auto', ada, null, { type: 'agent', id: 'ada' })).toBe('forbidden')
  })

  it('knows only its own names', () => {
    expect(isPermission('message:create')).toBe(true)
    for (const name of ['constructor', 'toString', '', undefined, 'message:fly']) {
      expect(isPermission(name)).toBe(false)
    }
  })
})
