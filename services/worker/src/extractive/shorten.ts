/**
 * At most `length` UTF-16 units on one line, ended by an ellipsis where something is left out; never half a character.
 */
export function shorten(text: string, length: number): string {
  const line = text.replaceAll(/[\s\p{Cc}]+/gu, ' ').trim()
  if (line.length <= length) return line
  let cut = line.slice(0, length - 1)
  if (!cut.isWellFormed()) cut = cut.slice(0, -1)
  const space = cut.lastIndexOf(' ')
  if (space > length * 0.7) cut = cut.slice(0, space)
  return `${cut}…`
}
