import type { Random } from '../support/random.ts'

const EVENTS = [
  'conversation:join',
  'conversation:leave',
  'conversation:online',
  'message:send',
  'message:typing',
  'message:read',
  'message:stream',
  'message:cancel',
  'auth:refresh',
]
const ODD_EVENTS = ['', 'error', '__proto__', 'constructor', 'toString', 'x']
const RESERVED_EVENTS = ['connect', 'disconnect', 'newListener']
const NOWHERE = '000000000000000000000000'
const ODD_VALUES = [
  'null',
  'true',
  '0',
  '-1e999',
  '"x"',
  '[]',
  '{}',
  '{"conversationId":null}',
  '{"conversationId":"zzzzzzzzzzzzzzzzzzzzzzzz"}',
  '{"conversationId":{"$ne":1},"seq":1}',
  '{"__proto__":{"isAdmin":true},"constructor":1}',
  '{"op":"start"}',
  '{"_placeholder":true,"num":0}',
  '{"token":"a.b.c"}',
]
/** The same of a conversation that may be there; none of them is a message that could be sent. */
const ODD_FIELDS = [
  '',
  ',"afterSeq":-1',
  ',"afterSeq":1e999,"afterChangeSeq":"x"',
  ',"role":"user","content":{"$gt":""}',
  ',"role":"user","content":""',
  ',"role":"user","content":"x","cost":1',
  ',"role":"assistant","content":"x"',
  ',"role":"user","content":"x","clientMessageId":""',
  ',"role":"user","content":"x","parentId":"000000000000000000000000"',
  ',"seq":{"$ne":1}',
  ',"seq":1e15,"messageId":"000000000000000000000000"',
  ',"isTyping":"yes"',
  ',"op":"start","clientMessageId":7',
  ',"op":"delta","messageId":"000000000000000000000000","index":1e15,"text":"x"',
  ',"messageId":{"$ne":null}',
]

function garbage(random: Random): string {
  return Array.from({ length: random.int(0, 200) }, () => String.fromCharCode(random.int(0, 0xffff))).join('')
}

function oddValue(random: Random, conversationId: string): string {
  if (random.next() < 0.5) return random.pick(ODD_VALUES)
  return `{"conversationId":"${random.pick([NOWHERE, conversationId])}"${random.pick(ODD_FIELDS)}}`
}

/** A packet that no client of ours would send, and that a server can refuse without ending the connection. */
export function bearable(random: Random, conversationId: string): string {
  const event = JSON.stringify(random.next() < 0.8 ? random.pick(EVENTS) : random.pick(ODD_EVENTS))
  const value = oddValue(random, conversationId)
  const id = random.next() < 0.5 ? random.int(0, 99) : ''
  switch (random.int(0, 9)) {
    case 0:
      return `43/chat,${random.int(0, 1e9)}[${value}]`
    case 1:
      return `42/chat,${id}[${event},${'['.repeat(500)}${']'.repeat(500)}]`
    default:
      return `42/chat,${id}[${event},${value}${random.next() < 0.2 ? `,${value}` : ''}]`
  }
}

/** Frames after which a server may hang up: not of the protocol at all. */
export function unbearable(random: Random, conversationId: string): (string | Buffer)[] {
  const event = JSON.stringify(random.pick(random.next() < 0.5 ? EVENTS : RESERVED_EVENTS))
  const value = oddValue(random, conversationId)
  switch (random.int(0, 6)) {
    case 0:
      return [garbage(random)]
    case 1:
      return [`4${garbage(random)}`]
    case 2:
      return [Buffer.from(garbage(random))]
    case 3:
      return [`42/chat,[${event},${value}`]
    case 4:
      return [`42/nowhere,[${event},${value}]`]
    case 5:
      return [`451-/chat,[${event},${value}]`, random.next() < 0.5 ? '42/chat,["x"]' : Buffer.from('x')]
    default:
      return [`42/chat,[${event},${value}]`, 'x']
  }
}

/** Asks for all that a conversation has, with this number for the acknowledgement. */
export const greedy = (id: number, conversationId: string): string =>
  `42/chat,${id}["conversation:join",{"conversationId":"${conversationId}","afterSeq":0}]`

export const HTTP_GARBAGE = [
  'GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n',
  'GET /socket.io/?EIO=9&transport=carrier HTTP/1.1\r\nHost: x\r\n\r\n',
  'POST /socket.io/?EIO=4&transport=polling&sid=nobody HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n\x1e\x1e\x1e',
  'GET /presence/%ff/%00 HTTP/1.1\r\nHost: x\r\n\r\n',
  'NONSENSE\r\n\r\n',
  '\x00\xff\x16\x03\x01',
]
