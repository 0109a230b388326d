import { LIMITS } from './limits.ts'

/** The first 140 characters, never half of a surrogate pair; empty for a deleted message. */
export function previewOf({
  content,
  deletedAt,
}: {
  content: string
  deletedAt?: Date | string | null
}): string {
  if (deletedAt) return ''
  const cut = content.slice(0, LIMITS.preview)
  return cut.isWellFormed() ? cut : cut.slice(0, -1)
}
