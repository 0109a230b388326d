import { root } from '../service.ts'
import type { Stack } from '../stack.ts'

const org = 'demo'
const days30 = 30 * 24 * 3_600

export type DevTokens = { user1: string; user2: string; admin: string; agent: string }

/** Tokens for four parties of the org `demo`, good for 30 days. */
export function devTokens(stack: Stack): DevTokens {
  const common = { orgId: org, expiresIn: days30 }
  return {
    user1: stack.token({ ...common, sub: 'user1', name: 'User One', roles: ['member'] }),
    user2: stack.token({ ...common, sub: 'user2', name: 'User Two', roles: ['member'] }),
    admin: stack.token({ ...common, sub: 'admin', name: 'Admin', roles: ['member', 'admin'] }),
    agent: stack.token({ ...common, sub: 'agent', name: 'Agent', type: 'agent', roles: ['member'] }),
  }
}

/** The one line of `--json`. A store that runs elsewhere has no pid here: null. */
export function readyLine(stack: Stack): string {
  const { pids } = stack
  const named = (name: string) => pids[name] ?? null
  return JSON.stringify({
    apiUrl: stack.apiUrl,
    gatewayUrls: stack.gatewayUrls,
    mongodbUri: stack.mongodbUri,
    redisUrl: stack.redisUrl,
    tokens: devTokens(stack),
    pids: {
      api: named('api-0'),
      gateways: stack.gatewayUrls.map((_, index) => named(`gateway-${index}`)),
      worker: named('worker-0'),
      mongod: named('mongod-0'),
      redis: named('redis-0'),
    },
  })
}

/** What a person sees when all is ready: where things are, and lines that work when pasted into another terminal. */
export function welcome(stack: Stack, dataDir: string | undefined, seconds: string): string {
  const { apiUrl, gatewayUrls } = stack
  const tokens = Object.entries(devTokens(stack)).map(
    ([name, token]) => `export ${name.toUpperCase()}=${token}`,
  )
  return `
Parley is ready after ${seconds} s.
  api        ${apiUrl}   (reference: ${apiUrl}/docs)
  ${gatewayUrls.length > 1 ? 'gateways ' : 'gateway  '}  ${gatewayUrls.join('  ')}   (Socket.IO, namespace /chat)
  worker     ${stack.workerUrls.join('  ')}
  MongoDB    ${stack.mongodbUri}
  Redis      ${stack.redisUrl}
  data       ${dataDir ?? 'thrown away at the end'}

Paste what follows into another terminal.

# Two people, an admin and an agent of the org "${org}"; their tokens are good for 30 days.
cd '${root}'
export PARLEY_API=${apiUrl} PARLEY_GATEWAY=${gatewayUrls[0]} NODE='${process.execPath}'
${tokens.join('\n')}

# With curl: a conversation of two people and the agent, a message, and what the other one reads.
${curlLines}

# With the SDK: the other one listens and answers (Ctrl-C ends it).
${sdkLines}

# With the SDK: an agent that streams its answers, also to what was written before it came (Ctrl-C ends it).
"$NODE" --conditions=@parley/source examples/agent.ts

Ctrl-C here ends everything.
`
}

const json = `-H 'content-type: application/json'`
const curlLines = [
  `export CID=$(curl -s $PARLEY_API/conversations -H "authorization: Bearer $USER1" ${json} -d '{"title":"Hello","agentId":"agent","participants":[{"type":"user","id":"user2","role":"member"}]}' | grep -o '"id":"[0-9a-f]\\{24\\}"' | head -n 1 | cut -d '"' -f 4)`,
  `curl -s $PARLEY_API/messages -H "authorization: Bearer $USER1" ${json} -d '{"conversationId":"'$CID'","role":"user","content":"Hello, is anybody here?"}'; echo`,
  `curl -s $PARLEY_API/messages/conversation/$CID -H "authorization: Bearer $USER2"; echo`,
].join('\n')

/** `NODE` is the one that runs this: it runs TypeScript; the one on the PATH may be too old for it. */
const sdkLines = `"$NODE" --conditions=@parley/source --input-type=module -e '
import { createParley } from "@parley/client"
const { PARLEY_API: apiUrl, PARLEY_GATEWAY: gatewayUrl, USER2: token, CID } = process.env
const room = createParley({ apiUrl, gatewayUrl, token }).conversation(CID)
room.on("message:new", ({ seq, participantId, content }) => console.log(seq, participantId, content))
await room.join({ afterSeq: 0 })
await room.send({ content: "Yes, I am." })
'`
