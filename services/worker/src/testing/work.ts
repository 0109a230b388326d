import type { SummaryMessage, SummaryWork } from '@parley/contract'

export const said = (seq: number, content: string, fields: Partial<SummaryMessage> = {}): SummaryMessage => ({
  seq,
  role: 'user',
  author: 'ada',
  content,
  tools: [],
  attachments: 0,
  createdAt: new Date(0).toISOString(),
  ...fields,
})

/** A first bucket of these lines. */
export function workOf(lines: readonly string[], fields: Partial<SummaryWork> = {}): SummaryWork {
  const messages = lines.map((line, i) => said(i + 1, line))
  return {
    state: 'ready',
    coversSeq: 0,
    contentRev: 0,
    throughSeq: Math.max(1, messages.length),
    previousText: '',
    previousSeq: 0,
    notes: [],
    messages,
    recent: messages.slice(-4),
    ...fields,
  }
}
