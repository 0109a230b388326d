import type { VerifiedToken } from '@parley/auth'
import type { Caller } from '@parley/contract'
import { expect, test, vi } from 'vitest'
import { createSession } from '../connection/session.ts'
import type { Services } from '../services.ts'
import type { ChatSocket } from '../sockets.ts'
import { authRefresh } from './auth-refresh.ts'

const ada: Caller = { type: 'user', id: 'ada', orgId: 'acme', roles: ['member'], name: null, picture: null }
const context = { requestId: 'test', reply: <R extends object>(result: R): R => result }

test('a socket that disconnects while its new token is verified is not watched until that expires', async () => {
  const judged = Promise.withResolvers<VerifiedToken>()
  const services = {
    verifier: { verify: () => judged.promise },
    expiry: { watch: vi.fn(), stop: vi.fn() },
    recheck: vi.fn(),
  } satisfies Partial<Services>
  const { type, id: userId, orgId, roles } = ada
  const session = createSession(
    { token: 'old', issuedAt: 1, expiresAt: 2 },
    { take: () => true, waitMs: () => 0 },
  )
  const data: ChatSocket['data'] = { caller: ada, key: 'user:ada', type, userId, orgId, roles, session }
  const socket = { connected: true, data }
  const { read } = authRefresh(services as Partial<Services> as Services)
  const refreshing = read({ token: 'new' }).run(socket as ChatSocket, context)
  socket.connected = false
  judged.resolve({ caller: ada, issuedAt: 3, expiresAt: 4 })
  await expect(refreshing).rejects.toMatchObject({ code: 'unavailable' })
  expect(services.expiry.watch).not.toHaveBeenCalled()
})
