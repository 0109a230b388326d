import { defineScript } from '@parley/service-kit'
import type { Redis, Result } from 'ioredis'

declare module 'ioredis' {
  interface RedisCommander<Context> {
    presenceAdd(
      key: string,
      seen: string,
      member: string,
      channel: string,
      message: string,
      at: number,
      seenMs: number,
      tell: '0' | '1',
    ): Result<number, Context>
    presenceRemove(
      key: string,
      seen: string,
      member: string,
      channel: string,
      message: string,
      at: number,
      seenMs: number,
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
    leaseRenew(
      key: string,
      generation: string,
      ms: number,
    ): Result<[epoch: string, leftMs: number] | null, Context>
    leaseList(key: string): Result<[live: string[], dead: string[]], Context>
  }
}

/** Each script is described in its file. */
export function definePresenceScripts(redis: Redis): void {
  const scripts = [
    ['presenceAdd', 'presence-add', 2],
    ['presenceRemove', 'presence-remove', 2],
    ['roomEnter', 'room-enter', 1],
    ['roomLeave', 'room-leave', 1],
    ['leaseTake', 'lease-take', 1],
    ['leaseRenew', 'lease-renew', 1],
    ['leaseList', 'lease-list', 1],
  ] as const
  for (const [command, file, numberOfKeys] of scripts) {
    defineScript(redis, command, numberOfKeys, new URL(`../../lua/${file}.lua`, import.meta.url))
  }
}
