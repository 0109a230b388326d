import type { Reply } from '../resp.ts'

/** As Redis writes it. */
export function encodeReply(value: Reply): string {
  if (value === null) return '*-1\r\n'
  if (value instanceof Error) return `-${value.message}\r\n`
  if (typeof value === 'number') return `:${value}\r\n`
  if (typeof value === 'string') return `$${Buffer.byteLength(value)}\r\n${value}\r\n`
  return `*${value.length}\r\n${value.map(encodeReply).join('')}`
}
