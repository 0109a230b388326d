import { describe, expect, test } from 'vitest'
import { indexTerms, queryTerms, rate } from './terms.ts'

const found = (text: string, query: string): string[] =>
  rate(text, queryTerms(query)).highlights.map(({ start, end }) => text.slice(start, end))

describe('words are found in', () => {
  test.each([
    ['English', 'The invoice was paid on Friday.', 'friday invoice', ['invoice', 'Friday']],
    ['English, a started word', 'Their invoices are late', 'invoi', ['invoices']],
    ['English, an apostrophe', 'I can’t come', "can't", ['can’t']],
    ['German, umlauts spelled without', 'Die Größe der Tür passt nicht', 'grosse tur', ['Größe', 'Tür']],
    ['Vietnamese, with accents', 'Đơn hàng của tôi bị trễ', 'đơn hàng', ['Đơn', 'hàng']],
    ['Vietnamese, without', 'Đơn hàng của tôi bị trễ', 'don hang', ['Đơn', 'hàng']],
    ['Chinese', '我在北京大学学习中文', '大学', ['大学']],
    ['Chinese, one character', '我在北京大学学习中文', '京', ['京']],
    ['Chinese, a phrase', '我在北京大学学习中文', '北京大学', ['北京大学']],
    ['Japanese', '東京タワーへ行きます', 'タワー', ['タワー']],
    ['numbers', 'Ticket 4711 is open', '4711', ['4711']],
  ])('%s', (_language, text, query, marks) => {
    expect(found(text, query)).toEqual(marks)
    for (const { text: term, prefix } of queryTerms(query)) {
      expect(indexTerms(text).some((indexed) => (prefix ? indexed.startsWith(term) : indexed === term))).toBe(
        true,
      )
    }
  })

  test('not where one of them is missing', () => {
    expect(found('The invoice was paid', 'invoice friday')).toEqual([])
    expect(found('我在北京大学', '上海')).toEqual([])
    expect(found('Their invoices', 'invoi late')).toEqual([])
  })
})

test('more of it, and less of other things, ranks higher', () => {
  const score = (text: string) => rate(text, queryTerms('refund')).score
  expect(score('refund, refund!')).toBeGreaterThan(score('refund'))
  expect(score('a refund')).toBeGreaterThan(score(`a refund ${'and other things '.repeat(40)}`))
})

test('a query without a word has no terms', () => {
  expect(queryTerms('?! …')).toEqual([])
})
