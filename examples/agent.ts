import { createAgent } from '@parley/client'

// Streams its answers, stops when somebody cancels, and reports what they cost. The model here is a stand-in that
// answers word by word; put any other in its place.
async function* model(question: string, summary: string | null, signal: AbortSignal) {
  const answer = `You wrote “${question}”. ${summary ? `Before that: ${summary}` : 'We have only just met.'}`
  for (const word of answer.split(/(?<= )/)) {
    if (signal.aborted) return
    await new Promise((resolve) => setTimeout(resolve, 40))
    yield word
  }
}

const agent = createAgent({
  apiUrl: process.env.PARLEY_API ?? 'http://127.0.0.1:3000',
  gatewayUrl: process.env.PARLEY_GATEWAY ?? 'http://127.0.0.1:3003',
  token: process.env.AGENT ?? '',
})

agent.onMessage(async (message, { context, stream, signal }) => {
  const { summary, tokens } = await context({ maxTokens: 4_000 })
  const answer = stream({ model: 'stand-in-1' })
  for await (const words of model(message.content, summary, signal)) answer.write(words)
  await answer.end({ usage: { inputTokens: tokens, outputTokens: answer.text.split(' ').length } })
})

agent.on('error', ({ error }) => console.error(error.message))
await agent.start()
