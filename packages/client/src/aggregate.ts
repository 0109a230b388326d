import type { ParticipantRef, ServerPayload } from '@parley/contract'
import type { ConnectionEvents } from './connection.ts'
import type { Emitter } from './emitter.ts'

/** Large rooms get a second's events as one; listeners get the events that it stands for. */
export function unfoldAggregates(events: Emitter<ConnectionEvents>): void {
  events.on('room:aggregate', ({ conversationId, receipts, joined, left, online, offline }) => {
    for (const receipt of receipts) events.emit('message:receipt', receipt)
    for (const one of joined) events.emit('user:joined', { conversationId, ...fieldsOf(one) })
    for (const one of left) events.emit('user:left', { conversationId, ...fieldsOf(one) })
    const at = new Date().toISOString()
    const presence = (one: ParticipantRef, status: ServerPayload<'presence:update'>['status']) =>
      events.emit('presence:update', { ...fieldsOf(one), status, at })
    for (const one of online) presence(one, 'online')
    for (const one of offline) presence(one, 'offline')
  })
}

const fieldsOf = ({ type, id }: ParticipantRef) => ({ participantType: type, participantId: id, userId: id })
