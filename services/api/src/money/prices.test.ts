import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createPricing } from './prices.ts'

const tokens = (inputTokens: number, outputTokens: number) => ({
  inputTokens,
  outputTokens,
  totalTokens: inputTokens + outputTokens,
})

describe('the price of a message', () => {
  const price = createPricing({ small: { input: 0.15, output: 0.6 }, free: { input: 0, output: 0 } })

  test('depends on the model, else 0.002 dollars per 1,000 tokens', () => {
    expect(price(tokens(1_000, 0), 'small')).toBe(150_000)
    expect(price(tokens(0, 1_000), 'small')).toBe(600_000)
    expect(price(tokens(1_000, 1_000), 'free')).toBe(0)
    expect(price(tokens(600, 400), 'another')).toBe(2_000)
    expect(price(tokens(600, 400), undefined)).toBe(2_000)
    expect(price(undefined, 'small')).toBe(0)
  })

  test('does not take a name from the prototype for a model', () => {
    expect(price(tokens(600, 400), 'constructor')).toBe(2_000)
  })

  test('rounds half up to a millionth, exactly even where floating point is not', () => {
    const halves = createPricing({
      half: { input: 0.0005, output: 0.0015 },
      odd: { input: 0.0000005, output: 0 },
    })
    expect(halves(tokens(1, 0), 'half')).toBe(1)
    expect(halves(tokens(3, 0), 'half')).toBe(2)
    expect(halves(tokens(0, 1), 'half')).toBe(2)
    expect(halves(tokens(999, 0), 'odd')).toBe(0)
    expect(halves(tokens(1_000, 0), 'odd')).toBe(1)
  })

  test('agrees with arithmetic in whole numbers', () => {
    // A price in billionths of a dollar per 1,000 tokens is a whole number of 10^-12 dollars per token.
    const billionths = fc.integer({ min: 0, max: 100_000_000 })
    const count = fc.integer({ min: 0, max: 1_000_000 })
    fc.assert(
      fc.property(billionths, billionths, count, count, (input, output, inputs, outputs) => {
        const priced = createPricing({ it: { input: input / 1e9, output: output / 1e9 } })
        const exact = BigInt(input) * BigInt(inputs) + BigInt(output) * BigInt(outputs)
        const rounded = (exact + 500_000n) / 1_000_000n
        expect(BigInt(priced(tokens(inputs, outputs), 'it'))).toBe(rounded)
      }),
    )
  })
})
