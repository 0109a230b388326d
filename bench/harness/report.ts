import type { Spread } from './measure.ts'

/** What a figure is held against. */
export type Bar = { atLeast: number } | { atMost: number }

/** One measured figure of a row. */
export interface Cell {
  name: string
  figure: Spread
  bar?: Bar
  /** The figure's unit; without one it is a ratio of Parley to its rival. */
  unit?: string
  /** Absolute figures behind a ratio, and whatever else a reader should know. */
  note?: string
}

export interface Row {
  id: string
  title: string
  /** Yields each figure when it is there. */
  run(options: { full: boolean }): AsyncGenerator<Cell>
}

export type Verdict = 'met' | 'short' | 'no difference seen' | 'no bar'

export function verdict({ figure, bar, unit }: Cell): Verdict {
  if (!bar) return 'no bar'
  const met = 'atLeast' in bar ? figure.median >= bar.atLeast : figure.median <= bar.atMost
  if (met) return 'met'
  // A ratio whose spread holds the bar itself says nothing about either side of it.
  const limit = 'atLeast' in bar ? bar.atLeast : bar.atMost
  return unit === undefined && figure.low <= limit && limit <= figure.high ? 'no difference seen' : 'short'
}

const show = (value: number): string =>
  Number.isInteger(value) ? String(value) : value >= 100 ? value.toFixed(0) : value.toPrecision(3)

export function describe(id: string, cell: Cell): string {
  const { name, figure, bar, unit = '×', note } = cell
  const range = figure.low === figure.high ? '' : ` (${show(figure.low)}–${show(figure.high)})`
  const limit = bar ? ('atLeast' in bar ? `≥ ${bar.atLeast}` : `≤ ${bar.atMost}`) : ''
  const end = [limit && `bar ${limit} ${unit}`, verdict(cell), note].filter(Boolean).join(' · ')
  return `${id}  ${name}: ${show(figure.median)} ${unit}${range} · ${end}`
}
