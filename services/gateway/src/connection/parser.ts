import { CHAT_NAMESPACE } from '@parley/contract'
import { Decoder, Encoder, type Packet, PacketType } from 'socket.io-parser'

/** JSON texts of lists that were acknowledged, each for as long as its list is used. */
const listTexts = new WeakMap<readonly unknown[], string>()

function listText(list: readonly unknown[]): string {
  let text = listTexts.get(list)
  if (text === undefined) {
    text = JSON.stringify(list)
    listTexts.set(list, text)
  }
  return text
}

function bodyText(body: object): string {
  const members: string[] = []
  for (const [name, value] of Object.entries(body)) {
    if (value === undefined) continue
    members.push(`${JSON.stringify(name)}:${Array.isArray(value) ? listText(value) : JSON.stringify(value)}`)
  }
  return `{${members.join(',')}}`
}

/**
 * Socket.IO's own encoder, except for acknowledgements: a list in one is serialised once for all the sockets that get
 * it (docs/decisions/0011), so it must not change afterwards, and none is searched for binary data.
 */
class AckEncoder extends Encoder {
  override encode(packet: Packet): ReturnType<Encoder['encode']> {
    if (packet.type !== PacketType.ACK) return super.encode(packet)
    const [body] = packet.data
    return [`${PacketType.ACK}${CHAT_NAMESPACE},${packet.id}[${bodyText(body)}]`]
  }
}

/** For Socket.IO's option of this name. */
export const parser = { Encoder: AckEncoder, Decoder }
