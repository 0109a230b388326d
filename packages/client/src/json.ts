import { ParleyError } from './errors.ts'

/** As it goes out. Throws `validation_failed` for what no JSON can hold: a BigInt, or what contains itself. */
export function toJson(value: unknown): string {
  try {
    return JSON.stringify(value)
  } catch (error) {
    throw new ParleyError('validation_failed', 'The payload cannot be serialised as JSON', { cause: error })
  }
}

/** A copy as the other side will see it, which the caller can't change any more. Throws like {@link toJson}. */
export const asSent = <T>(value: T): T => JSON.parse(toJson(value)) as T
