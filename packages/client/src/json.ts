import { ParleyError } from './errors.ts'

/** As it goes out. Throws `validation_failed` for what no JSON can hold: a BigInt, or what contains itself. */
export function toJson(value: unknown): string {
  try {
    return JSON.stringify(value)
  } catch (error) {
    throw new ParleyError('validation_failed', 'The payload cannot be serialised as JSON', { cause: error })
  }
}
