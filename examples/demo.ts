import { createAgent, createParley, type Message, type Parley, type Room } from '@parley/client'
import type { Stack } from '@parley/devstack'
import { readPlay, type Speech } from './play.ts'

const ORG = 'demo'
const ARIEL = 'ariel'
/** Who plays whom; the third one plays everybody who isn't named. */
const PEOPLE = ['prospero', 'miranda', 'company'] as const

type Out = { out(line: string): void }

/**
 * Three people on the gateways and an agent play scenes of The Tempest: each waits for its cue as it arrives through
 * Parley, and speaks. Throws if anybody received other lines, or in another order, than the play has.
 */
export async function runDemo(stack: Stack, { out }: Out): Promise<void> {
  const play = await readPlay(new URL('the-tempest.txt', import.meta.url))
  const began = performance.now()
  const token = (sub: string, type: 'user' | 'agent') =>
    stack.token({ sub, type, orgId: ORG, name: nameOf(sub) })
  const gateways = stack.gatewayUrls
  const connectTo = (index: number) => ({
    apiUrl: stack.apiUrls,
    // Each has a gateway of its own to begin with, and the others to turn to.
    gatewayUrls: [...gateways.slice(index % gateways.length), ...gateways.slice(0, index % gateways.length)],
  })

  const people = PEOPLE.map((sub, index) => createParley({ ...connectTo(index), token: token(sub, 'user') }))
  const agent = createAgent({ ...connectTo(1), token: token(ARIEL, 'agent') })
  const [prospero] = people
  if (!prospero) throw new Error('A play needs players')
  try {
    const conversation = await prospero.conversations.create({
      title: 'The Tempest',
      agentId: ARIEL,
      participants: PEOPLE.slice(1).map((id) => ({ type: 'user', id, role: 'member' })),
    })
    out(`\nThe Tempest: ${play.length} speeches, three people and an agent on ${gateways.length} gateways.`)
    out('What follows is what Miranda receives.\n')

    const failure = Promise.withResolvers<never>()
    const reached = watchSummaries(prospero.conversation(conversation.id))
    const heard = people.map((person, index) => {
      const stage = person.conversation(conversation.id)
      return perform(stage, play, partOf(PEOPLE[index] ?? ''), failure.reject, index === 1 ? out : undefined)
    })
    // Ariel's first speech comes after somebody else's: it answers whatever is its cue.
    const spirit = agent.parley.conversation(conversation.id)
    heard.push(listen(spirit, play))
    agent.onMessage(async (message, { stream }) => {
      const line = play[Number(message.metadata.line) + 1]
      if (line?.speaker !== 'ARIEL') return
      const answer = stream({ model: 'airy-spirit' })
      for (const words of line.text.split(/(?<= )/)) answer.write(words)
      await answer.end({ usage: { inputTokens: message.content.length, outputTokens: line.text.length } })
    })
    agent.on('error', ({ error }) => failure.reject(error))

    await Promise.all(people.map((person) => person.conversation(conversation.id).join()))
    const following = Promise.withResolvers<void>()
    agent.on('following', (room) => {
      if (room.id === conversation.id) following.resolve()
    })
    await agent.start()
    await Promise.race([following.promise, failure.promise])
    await speak(prospero.conversation(conversation.id), play, 0, people)

    const received = await Promise.race([Promise.all(heard), failure.promise])
    const seconds = (performance.now() - began) / 1000
    for (const [index, lines] of received.entries()) check(lines, play, PEOPLE[index] ?? ARIEL)
    out(`\n${play.length} speeches in ${seconds.toFixed(1)} s.`)
    out(`All four received the same ${play.length} lines, in the same order.`)
    const upTo = Math.floor(play.length / 10) * 10
    await showSummaries(prospero, { id: conversation.id, upTo, reached }, { out })
  } finally {
    await agent.stop()
    for (const person of people) person.close()
  }
}

function nameOf(sub: string): string {
  return sub.charAt(0).toUpperCase() + sub.slice(1)
}

/** Which speeches a player has. */
function partOf(sub: string): (speech: Speech) => boolean {
  const named = ['PROSPERO', 'MIRANDA', 'ARIEL']
  if (sub === 'company') return ({ speaker }) => !named.includes(speaker)
  return ({ speaker }) => speaker === sub.toUpperCase()
}

/** The first speech has no cue. */
async function speak(stage: Room, play: Speech[], index: number, people: Parley[]): Promise<void> {
  const speech = play[index]
  const player = PEOPLE.findIndex((sub) => speech && partOf(sub)(speech))
  const room = people[player]?.conversation(stage.id) ?? stage
  if (speech) await room.send({ content: speech.text, metadata: { line: index } })
}

/** Plays a part; resolves with all that was received, once the play is over. */
function perform(
  stage: Room,
  play: Speech[],
  isMine: (speech: Speech) => boolean,
  fail: (error: unknown) => void,
  out?: (line: string) => void,
): Promise<Message[]> {
  return listen(stage, play, (message, index) => {
    const speech = play[index]
    if (out && speech) out(lineOf(message, speech))
    const next = play[index + 1]
    if (next && isMine(next)) {
      stage.send({ content: next.text, metadata: { line: index + 1 } }).catch(fail)
    }
  })
}

/**
 * Collects the lines in the order in which they arrive. A streamed one has its place from its beginning and is complete
 * with its last update, which one listener may get before the next line and another just after it.
 */
function listen(
  stage: Room,
  play: Speech[],
  onLine?: (message: Message, index: number) => void,
): Promise<Message[]> {
  const lines: Message[] = []
  const done = Promise.withResolvers<Message[]>()
  let complete = 0
  const heard = (message: Message) => {
    const known = lines.findIndex(({ id }) => id === message.id)
    const index = known < 0 ? lines.length : known
    if (lines[index]?.status === 'sent') return
    lines[index] = message
    if (message.status !== 'sent') return
    complete++
    onLine?.(message, index)
    if (complete === play.length) done.resolve(lines)
  }
  stage.on('message:new', heard)
  stage.on('message:updated', heard)
  return done.promise
}

/** A speech on one line of a terminal, as far as it fits. */
function lineOf({ seq, content }: Message, { speaker }: Speech): string {
  const begins = content.length > 76 ? `${content.slice(0, 75)}…` : content
  return `${String(seq).padStart(4)}  ${speaker.padEnd(10)}  ${begins}`
}

function check(lines: Message[], play: Speech[], who: string): void {
  for (const [index, speech] of play.entries()) {
    const line = lines[index]
    const before = lines[index - 1]?.seq ?? 0
    if (line?.content !== speech.text || line.seq <= before) {
      throw new Error(`${who} received something else than speech ${index + 1} of the play: ${line?.content}`)
    }
  }
}

/** Notes up to which line each summary reached. */
function watchSummaries(stage: Room): number[] {
  const reached: number[] = []
  stage.on('conversation:updated', ({ conversation: { summaryCoversSeq } }) => {
    if (summaryCoversSeq > (reached.at(-1) ?? 0)) reached.push(summaryCoversSeq)
  })
  return reached
}

/** Waits for the summary of the last full bucket of ten, then shows it. */
async function showSummaries(
  person: Parley,
  { id, upTo, reached }: { id: string; upTo: number; reached: number[] },
  { out }: Out,
): Promise<void> {
  const deadline = Date.now() + 15_000
  while ((reached.at(-1) ?? 0) < upTo) {
    if (Date.now() > deadline) throw new Error(`No summary up to line ${upTo} within 15 s`)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  const conversation = await person.conversations.get(id)
  out(`Ariel's answers: ${conversation.usage.totalTokens} tokens, $${conversation.totalCost}.`)
  out(`Summaries were made up to lines ${reached.join(', ')}. The last one:\n`)
  out(conversation.contextSummary ?? '')
}
