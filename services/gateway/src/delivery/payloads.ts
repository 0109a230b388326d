import { type Change, type ChangeKind, ConversationField } from '@parley/contract'
import { z } from 'zod'
import { encodeFrame, type Frame } from '../connection/frames.ts'

/** A change as it goes out: JSON texts, so that what is not read here is not parsed. */
export interface ChangePayload {
  kind: ChangeKind
  /** The message, or the conversation as its room sees it. */
  subject: string
  /** For a conversation: JSON array of the fields that changed. */
  changed: string
}

const MessageNumbers = z.object({ seq: z.int(), changeSeq: z.int() })

/** Seq and changeSeq of a message, from its JSON text. */
export const numbersOf = (message: string): z.infer<typeof MessageNumbers> =>
  MessageNumbers.parse(JSON.parse(message))

/** All fields that a change of the conversation may concern, for when it is not known which ones do. */
const ANY_FIELD = JSON.stringify(ConversationField.options)
export const PARTICIPANTS = JSON.stringify(['participants'])

/** `message:new`: the message's own text with `prevSeq` added at its end. */
export const newMessageFrame = (message: string, prevSeq: number): Frame =>
  encodeFrame('message:new', `${message.slice(0, -1)},"prevSeq":${prevSeq}}`)

export function changeFrame(conversationId: string, change: number, payload: ChangePayload): Frame {
  const { kind, subject, changed } = payload
  if (kind === 'message.updated') return encodeFrame('message:updated', subject)
  if (kind === 'message.deleted') return encodeFrame('message:deleted', subject)
  const fields = `"conversationId":"${conversationId}","changeSeq":${change},"changed":${changed}`
  return encodeFrame('conversation:updated', `{${fields},"conversation":${subject}}`)
}

/** The same as an item of a join's `changes`. */
export function changeItem(change: number, { kind, subject }: ChangePayload): string {
  const name = kind.startsWith('message.') ? 'message' : 'conversation'
  return `{"changeSeq":${change},"kind":"${kind}","${name}":${subject}}`
}

/** A change as the api lists it; null: nothing to show, the conversation is gone. */
export function payloadOf({ kind, message, conversation }: Change): ChangePayload | null {
  const subject = message ?? conversation
  return subject ? { kind, subject: JSON.stringify(subject), changed: ANY_FIELD } : null
}
