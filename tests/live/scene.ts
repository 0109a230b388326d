import { type Stack, startStack } from '@parley/devstack'
import { createHttp } from '../support/http.ts'
import { type Listener, listen } from '../support/listener.ts'
import { participantOf } from '../support/participant.ts'
import { joinRoom } from '../support/socket.ts'

export type Scene = Awaited<ReturnType<typeof openScene>>

/** Two gateways, two api processes, and people to put on them. */
export async function openScene(options: Parameters<typeof startStack>[0] = {}) {
  const stack: Stack = await startStack({ apis: 2, gateways: 2, workers: 0, ...options })
  const open: Listener[] = []
  const org = 'live'
  let count = 0
  const token = (key: string, roles: ('member' | 'admin')[] = [], orgId = org) => {
    const { type, id } = participantOf(key)
    return stack.token({ sub: id, type, orgId, roles })
  }
  const http = (key: string, roles: ('member' | 'admin')[] = []) =>
    createHttp(stack.apiUrls, token(key, roles))

  async function connect(key: string, gateway = 0): Promise<Listener> {
    const listener = await listen(stack.gatewayUrls[gateway] ?? '', token(key))
    open.push(listener)
    return listener
  }

  return {
    stack,
    http,
    token,
    connect,
    /** Names that no other test has. */
    names: <const N extends string>(...names: N[]): Record<N, string> => {
      count += 1
      return Object.fromEntries(names.map((name) => [name, `${name}-${count}`])) as Record<N, string>
    },
    /** `keys`: `ada`, or `agent:helper`; the first is the owner. */
    async conversation(...keys: string[]): Promise<string> {
      const [owner = '', ...others] = keys
      const participants = others.map(participantOf)
      const { id } = await http(owner).sure<{ id: string }>('POST', '/conversations', { participants })
      return id
    },
    async join(key: string, conversationId: string, gateway = 0): Promise<Listener> {
      const listener = await connect(key, gateway)
      await joinRoom(listener.socket, conversationId)
      return listener
    },
    hangUp(): void {
      for (const listener of open.splice(0)) listener.close()
    },
    async close(): Promise<void> {
      for (const listener of open.splice(0)) listener.close()
      await stack.close()
    },
  }
}
