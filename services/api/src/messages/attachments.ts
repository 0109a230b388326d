import { LIMITS, problem } from '@parley/contract'

export type AttachmentReference = { kind: 'url'; url: URL } | { kind: 'document'; id: string }

const DETAIL =
  `must be an https: URL without credentials, up to ${LIMITS.attachment} characters, or document:<id>, ` +
  'an id of 1 to 128 of A-Z a-z 0-9 . _ - that begins with a letter or digit'

const DOCUMENT = /^document:([A-Za-z0-9][A-Za-z0-9._-]{0,127})$/

/**
 * An attachment reference taken apart: an `https:` URL without credentials of up to 2,048 UTF-16 units, or
 * `document:<id>` (1–128 of `A–Z a–z 0–9 . _ -`). null for anything else. Nothing is ever fetched.
 */
function parseAttachment(reference: string): AttachmentReference | null {
  const id = DOCUMENT.exec(reference)?.[1]
  if (id !== undefined) return { kind: 'document', id }
  // URL parsing forgives spaces, backslashes and control characters, which other programs read differently.
  if (reference.length > LIMITS.attachment || !/^https:\/\/[^\s\\\p{Cc}\p{Cs}]+$/iu.test(reference))
    return null
  const url = URL.parse(reference)
  if (url?.protocol !== 'https:' || url.hostname === '' || url.username !== '' || url.password !== '') {
    return null
  }
  return { kind: 'url', url }
}

/** @throws ProblemError `invalid_attachment`, naming each invalid reference */
export function assertAttachments(references: readonly string[]): void {
  const errors = references.flatMap((reference, index) =>
    parseAttachment(reference)
      ? []
      : [
          {
            pointer: `/attachments/${index}`,
            detail: DETAIL,
          },
        ],
  )
  if (errors.length > 0) throw problem('invalid_attachment', { errors })
}
