/**
 * Something the person at the keyboard can put right: the message is one sentence that says what is wrong and what
 * to do, and is shown without a stack trace.
 */
export class StackError extends Error {
  override readonly name = 'StackError'
}

/** The text of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** The `code` of a system or driver error, if it has one. */
export function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined
}
