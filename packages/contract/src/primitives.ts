import { z } from 'zod'
import { LIMITS } from './limits.ts'

const CONTROL = /\p{Cc}/u
const FORBIDDEN_KEYS = new Set(['__proto__', 'constructor', 'prototype', '_bsontype'])

/** Text that every store, log and terminal can hold: well-formed UTF-16 without NUL. */
export const isPlainText = (text: string): boolean => text.isWellFormed() && !text.includes('\0')

const encoder = new TextEncoder()

/** Bytes of a text as UTF-8. */
export const utf8Bytes = (text: string): number => encoder.encode(text).length

/** Any text; refuses NUL and lone surrogates. */
const Text = z.string().refine(isPlainText, 'must be well-formed text without NUL')

/** Text of at most `bytes` bytes of UTF-8. */
export const TextOfBytes = (bytes: number) =>
  Text.refine((text) => text.length * 3 <= bytes || utf8Bytes(text) <= bytes, {
    message: `must be at most ${bytes} bytes of UTF-8`,
  }).meta({ description: `At most ${bytes} bytes of UTF-8` })

/** Text of at most `characters` UTF-16 code units. */
export const TextOfLength = (characters: number) => Text.max(characters)

/** A conversation's or message's id: 24 hexadecimal digits, lower case on the way out. */
export const Id = z
  .string()
  .regex(/^[0-9a-fA-F]{24}$/, 'must be 24 hexadecimal digits')
  .toLowerCase()
  .meta({ description: '24 hexadecimal digits', example: '665f1c2ab1d4e8a3c9d0f1a2' })

/** A participant's, agent's or org's id, or a caller's own key: 1–128 characters, no control characters. */
export const OpaqueId = z
  .string()
  .min(1)
  .max(LIMITS.opaque)
  .refine((text) => text.isWellFormed() && !CONTROL.test(text), 'must have no control characters')

export const Timestamp = z.iso.datetime().meta({ description: 'ISO 8601, UTC' })

/** A non-negative count or sequence number. */
export const Count = z.int().min(0)

/** A sequence number that names something: 1, 2, 3 … */
export const Seq = z.int().min(1)

/**
 * Why a JSON value may not be stored, or null if it may. Walks without recursion, so depth costs no stack. Keys: no
 * prototype names, no leading `$`, no NUL; strings as in {@link isPlainText}; nesting up to 32 levels.
 */
function jsonFault(root: unknown): string | null {
  const queue: { value: unknown; depth: number }[] = [{ value: root, depth: 0 }]
  for (let item = queue.pop(); item; item = queue.pop()) {
    const { value, depth } = item
    if (typeof value === 'string') {
      if (!isPlainText(value)) return 'must be well-formed text without NUL'
    } else if (typeof value === 'number') {
      if (!Number.isFinite(value)) return 'must be a finite number'
    } else if (typeof value === 'object' && value !== null) {
      if (depth >= LIMITS.jsonDepth) return `must nest at most ${LIMITS.jsonDepth} levels`
      if (!Array.isArray(value)) {
        for (const key of Object.keys(value)) {
          if (FORBIDDEN_KEYS.has(key) || key.startsWith('$') || !isPlainText(key)) {
            return `must not have the key ${JSON.stringify(key.slice(0, 40))}`
          }
        }
      }
      for (const child of Object.values(value)) queue.push({ value: child, depth: depth + 1 })
    } else if (value !== null && typeof value !== 'boolean') {
      return 'must be a JSON value'
    }
  }
  return null
}

function checkJson(value: unknown, context: z.RefinementCtx): void {
  const fault = jsonFault(value)
  if (fault) context.addIssue({ code: 'custom', message: fault })
}

/** Any JSON value that can be stored; see {@link jsonFault}. */
export const JsonValue = z.unknown().superRefine(checkJson)

/** A JSON object of at most 8 KiB. */
export const Metadata = z
  .custom<Record<string, unknown>>(
    (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
    'must be an object',
  )
  .superRefine((value, context) => {
    const fault = jsonFault(value)
    if (fault) context.addIssue({ code: 'custom', message: fault })
    else if (utf8Bytes(JSON.stringify(value)) > LIMITS.metadataBytes) {
      context.addIssue({ code: 'custom', message: `must be at most ${LIMITS.metadataBytes} bytes` })
    }
  })
  .meta({ type: 'object', additionalProperties: true, description: 'At most 8 KiB as JSON' })
