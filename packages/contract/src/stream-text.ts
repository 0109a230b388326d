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
