import { defineScript } from '@parley/service-kit'
import type { Redis, Result } from 'ioredis'

/**
 * What became of one removal: whether it was announced, what remains (generations, or members if they are few), whether
 * it was there.
 */
export type RemovalAnswer = [told: number, rest: string[], found: number]
/** Of each in a call, what became of it: an error concerns only the one in whose place it stands. */
export type Answers<T> = (T | Error)[]
type Arguments = readonly (string | number)[]

declare module 'ioredis' {
  interface RedisCommander<Context> {
    presenceAdd(keys: number, ...keysAndArguments: Arguments): Result<Answers<number>, Context>
    presenceRemove(keys: number, ...keysAndArguments: Arguments): Result<Answers<RemovalAnswer>, Context>
    roomEnter(keys: number, ...keysAndArguments: Arguments): Result<Answers<number>, Context>
    roomLeave(keys: number, ...keysAndArguments: Arguments): Result<Answers<RemovalAnswer>, Context>
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
    ['presenceAdd', 'presence-add', null],
    ['presenceRemove', 'presence-remove', null],
    ['roomEnter', 'room-enter', null],
    ['roomLeave', 'room-leave', null],
    ['leaseTake', 'lease-take', 1],
    ['leaseRenew', 'lease-renew', 1],
    ['leaseList', 'lease-list', 1],
  ] as const
  for (const [command, file, numberOfKeys] of scripts) {
    defineScript(redis, command, numberOfKeys, new URL(`../../lua/${file}.lua`, import.meta.url))
  }
}
