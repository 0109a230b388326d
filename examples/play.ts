import { readFile } from 'node:fs/promises'

export interface Speech {
  speaker: string
  text: string
}

/** The speeches of a play, in order, as prose. See the file's head for how it is written. */
export async function readPlay(file: URL): Promise<Speech[]> {
  const blocks = (await readFile(file, 'utf8')).split(/\n{2,}/)
  const speeches: Speech[] = []
  for (const block of blocks.slice(1)) {
    const [speaker, ...lines] = block.trim().split('\n')
    if (!speaker || lines.length === 0) continue
    speeches.push({ speaker, text: lines.join(' ') })
  }
  return speeches
}
