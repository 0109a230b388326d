import { problem } from '@parley/contract'
import { defineEvent } from './define-event.ts'

/** `auth:refresh`: a newer token of the same person; the socket lives on until that one expires. */
export const authRefresh = defineEvent(
  'auth:refresh',
  ({ verifier, expiry, recheck }) =>
    async (socket, { token }) => {
      const { caller, issuedAt, expiresAt } = await verifier.verify(token)
      // Verification may have taken a call to the issuer.
      if (!socket.connected) throw problem('unavailable', { detail: 'The socket is gone' })
      const { data } = socket
      if (caller.id !== data.userId || caller.type !== data.type || caller.orgId !== data.orgId) {
        throw problem('forbidden', { detail: 'The token belongs to somebody else' })
      }
      const wasAdmin = data.roles.includes('admin')
      data.caller = caller
      data.roles = caller.roles
      Object.assign(data.session, { token, issuedAt, expiresAt })
      expiry.watch(socket)
      if (wasAdmin && !caller.roles.includes('admin')) for (const room of data.session.rooms) recheck(room)
      return { expiresAt: new Date(expiresAt * 1_000).toISOString() }
    },
  // One after the other, so that the last one stays.
  { cost: 5, lanes: () => ['auth:refresh'] },
)
