import type { ChatNamespace } from '../sockets.ts'

export type ControlBus = ReturnType<typeof createControlBus>

/**
 * Short messages between gateways, over the Redis adapter: what is not stored and may be lost while Redis is away.
 * A gateway does not hear itself. Messages of one gateway arrive in their order.
 */
export function createControlBus(namespace: ChatNamespace) {
  const handlers = new Map<string, ((payload: unknown) => void)[]>()
  namespace.on('control', (channel: string, payload: unknown) => {
    for (const handler of handlers.get(channel) ?? []) handler(payload)
  })
  return {
    publish(channel: string, payload: unknown): void {
      namespace.serverSideEmit('control', channel, payload)
    },
    /** `payload` comes from another gateway, maybe of another version: parse it. */
    on(channel: string, handler: (payload: unknown) => void): void {
      const list = handlers.get(channel)
      if (list) list.push(handler)
      else handlers.set(channel, [handler])
    },
  }
}
