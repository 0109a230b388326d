import { createParley, isParleyError, type Room } from '@parley/client'

/** What a page of a product does with the SDK. Runs in the browser, where tests call it as `chat`. */
export interface Chat {
  /** Enters a conversation, from its beginning. */
  enter(options: {
    apiUrl: string
    gatewayUrls: string[]
    token: string
    conversationId: string
  }): Promise<void>
  /** Sends; resolves to the message's seq. */
  say(content: string): Promise<number>
  cancel(messageId: string): Promise<void>
  /** Contents in the order in which they came, each with its seq. */
  heard: string[]
  /** Every text that a streamed answer was shown with. */
  shown: { messageId: string; content: string }[]
  /** Statuses that messages ended with. */
  ended: Record<string, string>
  /** Times that a gateway took the page's connection. */
  connections: number
  /** Why a connection was given up: codes. */
  failures: string[]
}

let room: Room | undefined

function entered(): Room {
  if (!room) throw new Error('enter first')
  return room
}

const chat: Chat = {
  heard: [],
  shown: [],
  ended: {},
  connections: 0,
  failures: [],
  async enter({ conversationId, ...options }) {
    const parley = createParley(options)
    parley.on('failed', (error) => chat.failures.push(isParleyError(error) ? error.code : String(error)))
    parley.on('connected', () => {
      chat.connections += 1
    })
    room = parley.conversation(conversationId)
    room.on('message:new', ({ seq, content }) => chat.heard.push(`${seq} ${content}`))
    room.on('message:stream', ({ messageId, content }) => chat.shown.push({ messageId, content }))
    room.on('message:updated', ({ id, status }) => {
      chat.ended[id] = status
    })
    await room.join({ afterSeq: 0 })
  },
  say: async (content) => (await entered().send(content)).seq,
  async cancel(messageId) {
    await entered().cancel(messageId)
  },
}

Object.assign(globalThis, { chat })
