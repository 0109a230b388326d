import { createHmac, timingSafeEqual } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { Server } from 'socket.io'

/** Socket.IO with nothing on it but a check of the token and rooms to join. */
const secret = process.env.JWT_SECRET ?? ''
const server = createServer()
const io = new Server(server, { perMessageDeflate: false, serveClient: false })

function verify(token: string): { sub: string } {
  const [head = '', body = '', signature = ''] = token.split('.')
  const expected = createHmac('sha256', secret).update(`${head}.${body}`).digest()
  const given = Buffer.from(signature, 'base64url')
  if (given.length !== expected.length || !timingSafeEqual(given, expected))
    throw new Error('unauthenticated')
  const claims = JSON.parse(Buffer.from(body, 'base64url').toString())
  if (claims.exp * 1_000 < Date.now()) throw new Error('token_expired')
  return claims
}

io.of('/chat').use((socket, next) => {
  try {
    socket.data.userId = verify(String(socket.handshake.auth.token)).sub
    next()
  } catch (error) {
    next(error instanceof Error ? error : new Error('unauthenticated'))
  }
})
io.of('/chat').on('connection', (socket) => {
  socket.on('conversation:join', async ({ conversationId }, done) => {
    await socket.join(conversationId)
    done({ ok: true })
  })
})

server.listen(0, '127.0.0.1')
await once(server, 'listening')
const address = server.address()
process.stdout.write(`${typeof address === 'object' ? address?.port : ''}\n`)
process.stdin.on('end', () => process.exit(0)).resume()
