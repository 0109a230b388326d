import { randomUUID } from 'node:crypto'
import type { Stack } from '@parley/devstack'
import type { Rest } from './rest.ts'

const home = `home-${randomUUID()}`
const away = `away-${randomUUID()}`

/** Everyone who may come along. All have the same ids in both orgs, so that only the org tells them apart. */
export const CALLERS = {
  owner: { sub: 'olga', type: 'user', orgId: home, roles: ['member'] },
  member: { sub: 'mary', type: 'user', orgId: home, roles: ['member'] },
  observer: { sub: 'otto', type: 'user', orgId: home, roles: ['member'] },
  agent: { sub: 'helper', type: 'agent', orgId: home, roles: [] },
  admin: { sub: 'root', type: 'user', orgId: home, roles: ['admin'] },
  adminObserver: { sub: 'rita', type: 'user', orgId: home, roles: ['admin'] },
  outsider: { sub: 'oscar', type: 'user', orgId: home, roles: ['member'] },
  otherAgent: { sub: 'spy', type: 'agent', orgId: home, roles: ['member'] },
  userNamedAsAgent: { sub: 'helper', type: 'user', orgId: home, roles: [] },
  awayOwner: { sub: 'olga', type: 'user', orgId: away, roles: ['member'] },
  awayAgent: { sub: 'helper', type: 'agent', orgId: away, roles: [] },
  awayAdmin: { sub: 'root', type: 'user', orgId: away, roles: ['admin'] },
  nobody: null,
} as const
export type Who = keyof typeof CALLERS
export const everyone = Object.keys(CALLERS) as readonly Who[]
/** Everyone with a token. */
export const all: readonly Who[] = everyone.filter((who) => who !== 'nobody')
/** For whom the conversation of a scene exists. */
export const insiders: readonly Who[] = ['owner', 'member', 'observer', 'agent', 'admin', 'adminObserver']
export const outsiders: readonly Who[] = all.filter((who) => !insiders.includes(who))

/** Who may; the other insiders are told that they may not. For everybody else it does not exist. */
export interface Rule {
  allow: readonly Who[]
  forbid: readonly Who[]
}
export const rule = (...allow: readonly Who[]): Rule => ({
  allow,
  forbid: insiders.filter((insider) => !allow.includes(insider)),
})
export function verdictOf({ allow, forbid }: Rule, who: Who): string {
  if (who === 'nobody') return 'unauthenticated'
  if (allow.includes(who)) return 'ok'
  return forbid.includes(who) ? 'forbidden' : 'not_found'
}

export const isAgent = (who: Who): boolean => CALLERS[who]?.type === 'agent'
/** The role of messages that this caller may write. */
export const messageRole = (who: Who): string => (isAgent(who) ? 'assistant' : 'user')

export interface Scene {
  conversationId: string
  /** Written by `member`. */
  messageId: string
}
/** What does not exist. */
export const NOTHING: Scene = { conversationId: 'f'.repeat(24), messageId: 'f'.repeat(24) }

export type Callers = ReturnType<typeof createCallers>

/** The callers' tokens for a stack, and what they are tried on. */
export function createCallers(stack: Stack, rest: Rest) {
  function tokenOf(who: Who): string | undefined {
    const claims = CALLERS[who]
    return claims ? stack.token({ ...claims, roles: [...claims.roles] }) : undefined
  }

  return {
    tokenOf,

    /** A conversation of the home org with one message. */
    async scene(): Promise<Scene> {
      const { id } = await rest.must<{ id: string }>('POST', '/conversations', {
        token: tokenOf('owner'),
        body: {
          title: 'Secret plans',
          agentId: 'helper',
          participants: [
            { type: 'user', id: 'mary', role: 'member' },
            { type: 'user', id: 'otto', role: 'observer' },
            { type: 'user', id: 'rita', role: 'observer' },
          ],
        },
      })
      const token = tokenOf('member')
      const message = await rest.must<{ id: string }>('POST', '/messages', {
        token,
        body: { conversationId: id, role: 'user', content: 'the password is swordfish' },
      })
      // Sending moves the sender's position a moment later; here it must stand still.
      await rest.must('POST', `/conversations/${id}/read`, { token, body: { seq: 1 } })
      return { conversationId: id, messageId: message.id }
    },

    /** What outsiders must not change. */
    async state({ conversationId }: Pick<Scene, 'conversationId'>): Promise<object[]> {
      const token = tokenOf('owner')
      return [
        await rest.must('GET', `/conversations/${conversationId}`, { token }),
        await rest.must('GET', `/messages/conversation/${conversationId}`, { token }),
      ]
    },
  }
}
