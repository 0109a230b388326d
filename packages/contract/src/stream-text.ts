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
 * Lua that ends the text of a stream, its key the only one: nobody owns what is left, so what a late owner still has to
 * say is refused, for a minute. That takes the text's place in one step, or gateways would begin the stream anew for the
 * next to join. A script and no transaction, which a Redis without memory would refuse: here it has deleted something
 * before it writes.
 */
export const END_STREAM_TEXT = `
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'owner', '')
redis.call('PEXPIRE', KEYS[1], 60000)
`
