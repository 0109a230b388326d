/**
 * The text of a streamed answer from its pieces: a hash of offset (UTF-16 units) -> the text that begins there. Other
 * fields are left out. Ends at the first gap; of pieces that overlap, the first wins.
 */
export function joinStreamText(fields: Record<string, string>): string {
  const pieces = Object.entries(fields)
    .filter(([name]) => /^\d+$/.test(name))
    .map(([name, text]) => ({ offset: Number(name), text }))
    .sort((a, b) => a.offset - b.offset)
  let whole = ''
  for (const { offset, text } of pieces) {
    if (offset > whole.length) break
    if (offset + text.length > whole.length) whole += text.slice(whole.length - offset)
  }
  return whole
}

/**
 * What is left of the text of a stream that has ended: nobody owns it, so what a late owner still has to say is refused.
 * It takes the text's place in one step, or gateways would begin the stream anew for the next to join.
 */
export const ENDED_STREAM = {
  fields: { owner: '' },
  /** Milliseconds for which it is kept. */
  keptMs: 60_000,
} as const
