import { z } from 'zod'

/** A model's price in dollars per 1,000 tokens, in and out. */
const Price = z.strictObject({ input: z.number().min(0), output: z.number().min(0) })
/**
 * The variable `MODEL_PRICES`: JSON, by model name, dollars per 1,000 tokens:
 * `{"small": {"input": 0.1, "output": 0.4}}`
 */
export const ModelPrices = z.record(z.string(), Price)
export type ModelPrices = z.infer<typeof ModelPrices>

/** Dollars per 1,000 tokens if the model has no price. */
const DEFAULT_PRICE = 0.002

export interface TokenCounts {
  inputTokens: number
  outputTokens: number
  totalTokens: number
}

/**
 * What a message costs, in millionths of a dollar, rounded half up. A model with a price is charged by input and
 * output; any other by total.
 */
export function createPricing(prices: ModelPrices) {
  const table = new Map(Object.entries(prices))
  return (usage: TokenCounts | undefined, model: string | undefined): number => {
    if (!usage) return 0
    const price = model === undefined ? undefined : table.get(model)
    // A price of one dollar per 1,000 tokens is 1,000 millionths per token.
    const micros = price
      ? (usage.inputTokens * price.input + usage.outputTokens * price.output) * 1_000
      : usage.totalTokens * DEFAULT_PRICE * 1_000
    // A product of decimals that is exactly a half can come out slightly below it.
    return Math.floor(Number(micros.toPrecision(14)) + 0.5)
  }
}
export type Pricing = ReturnType<typeof createPricing>
