import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import type { SummaryWork, Usage } from '@parley/contract'
import { generateText } from 'ai'
import { boundedFetch } from './bounded-fetch.ts'
import { buildPrompt } from './prompt.ts'
import { createResilience, type ResilienceOptions } from './resilience.ts'
import { normaliseAnswer } from './sections.ts'

export interface ModelOptions {
  /** Base address of an OpenAI-compatible interface, such as `http://localhost:11434/v1`. */
  url: string
  model: string
  apiKey?: string | undefined
  /** Characters of a summary. */
  length: number
  /** Milliseconds for one summary, retries and waits included. */
  timeoutMs: number
  resilience?: Partial<ResilienceOptions>
}

export interface ModelSummary {
  text: string
  model: string
  usage: Usage
}

export type Model = ReturnType<typeof createModel>

const MAX_ANSWER_BYTES = 512 * 1024
/** Tokens per character of the answer, generously, so that a model that rambles is cut off by its own server. */
const TOKENS_PER_CHARACTER = 1
const DEFAULTS: ResilienceOptions = {
  attempts: 3,
  backoffMs: 1_000,
  maxWaitMs: 20_000,
  failures: 5,
  openMs: 30_000,
}

/** Summaries by a language model. It gets no tools, and sees one conversation. */
export function createModel(options: ModelOptions) {
  const { url, model, apiKey, length, timeoutMs } = options
  const provider = createOpenAICompatible({
    name: 'summaries',
    baseURL: url,
    fetch: boundedFetch(MAX_ANSWER_BYTES),
    ...(apiKey === undefined ? {} : { apiKey }),
  })
  const resilience = createResilience({ ...DEFAULTS, ...options.resilience })

  async function ask(work: SummaryWork, abortSignal: AbortSignal): Promise<ModelSummary> {
    const answer = await generateText({
      model: provider(model),
      ...buildPrompt(work, length),
      maxOutputTokens: length * TOKENS_PER_CHARACTER,
      maxRetries: 0,
      abortSignal,
    })
    const text = normaliseAnswer(answer.text, length)
    if (text === null) throw new Error('The model answered with something that is not a summary')
    const inputTokens = count(answer.usage.inputTokens)
    const outputTokens = count(answer.usage.outputTokens)
    return { text, model, usage: { inputTokens, outputTokens, totalTokens: inputTokens + outputTokens } }
  }

  return {
    /** Rejects on any failure, also while the circuit is open: the caller falls back. */
    summarise: (work: SummaryWork, signal: AbortSignal): Promise<ModelSummary> =>
      resilience.execute(
        (attempt) => ask(work, attempt),
        AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
      ),
    /** The model is not being asked at the moment. */
    isOpen: resilience.isOpen,
  }
}

/** What a server reports, as far as it is a count. */
function count(value: number | undefined): number {
  return value !== undefined && Number.isSafeInteger(value) && value >= 0 ? value : 0
}
