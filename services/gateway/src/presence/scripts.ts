import type { Redis, Result } from 'ioredis'
import { lua } from '../bus/lua.ts'

declare module 'ioredis' {
  interface RedisCommander<Context> {
    presenceAdd(
      key: string,
      member: string,
      channel: string,
      message: string,
      tell: '0' | '1',
    ): Result<number, Context>
    presenceRemove(
      key: string,
      member: string,
      channel: string,
      message: string,
      always: '0' | '1',
    ): Result<[told: number, remaining: string[], found: number], Context>
    roomEnter(
      key: string,
      id: string,
      generation: string,
      channel: string,
      message: string,
      tell: '0' | '1',
    ): Result<number, Context>
    roomLeave(
      key: string,
      id: string,
      generation: string,
      channel: string,
      message: string,
      always: '0' | '1',
    ): Result<[told: number, remaining: string[], found: number], Context>
    leaseTake(key: string, generation: string, ms: number, epoch: string): Result<string, Context>
    leaseRenew(key: string, generation: string, ms: number): Result<string | null, Context>
    leaseList(key: string): Result<[live: string[], dead: string[]], Context>
  }
}

/** What each script does stands in its file. */
export function definePresenceScripts(redis: Redis): void {
  const scripts = {
    presenceAdd: 'presence-add',
    presenceRemove: 'presence-remove',
    roomEnter: 'room-enter',
    roomLeave: 'room-leave',
    leaseTake: 'lease-take',
    leaseRenew: 'lease-renew',
    leaseList: 'lease-list',
  }
  for (const [command, file] of Object.entries(scripts)) {
    redis.defineCommand(command, { numberOfKeys: 1, lua: lua(file) })
  }
}
