import { problem } from '@parley/contract'
import { z } from 'zod'

/**
 * Opaque cursors. Each is bound to its list: the name of the list and everything that selects what is in it, so that
 * a cursor of another conversation, filter or caller is refused and not misread.
 */
export function encodeCursor(list: readonly string[], position: readonly (string | number)[]): string {
  return Buffer.from(JSON.stringify([list, position])).toString('base64url')
}

/** @throws ProblemError `invalid_cursor` if it is broken, or belongs to another list */
export function decodeCursor<T extends z.ZodType>(
  cursor: string,
  list: readonly string[],
  position: T,
): z.output<T> {
  try {
    const [of, at] = z
      .tuple([z.array(z.string()), z.unknown()])
      .parse(JSON.parse(Buffer.from(cursor, 'base64url').toString()))
    if (of.length === list.length && of.every((part, index) => part === list[index]))
      return position.parse(at)
  } catch (cause) {
    throw problem('invalid_cursor', { cause })
  }
  throw problem('invalid_cursor')
}
