import { expect, test } from 'vitest'
import { encodeFrame } from '../connection/frames.ts'
import { createOutbound } from '../connection/outbound.ts'
import { newId } from '../testing/fake-api.ts'
import { createFakeSocket } from '../testing/fake-socket.ts'
import { createRoom } from './room.ts'

test('an older answer that arrives later does not make a socket hear twice what a newer one held', () => {
  const room = createRoom({ conversationId: newId(), outbound: createOutbound(), onDirty: () => undefined })
  const { socket, written } = createFakeSocket()
  room.add(socket, { seq: 5, change: 2 })
  room.add(socket, { seq: 3, change: 3 })
  for (let seq = 1; seq <= 6; seq++) room.send(encodeFrame('message:new', `{"seq":${seq}}`), { seq })
  for (let change = 1; change <= 4; change++) {
    room.send(encodeFrame('message:updated', `{"change":${change}}`), { change })
  }
  room.flush()
  expect(written.join().match(/"(seq|change)":\d/g)).toEqual(['"seq":6', '"change":4'])
})

test('what waits for a message runs once that is out, even if others have waited longer', () => {
  const room = createRoom({ conversationId: newId(), outbound: createOutbound(), onDirty: () => undefined })
  const ran: number[] = []
  for (const seq of [3, 1, 2, 0]) room.afterMessage(seq, () => ran.push(seq))
  expect(ran).toEqual([0])
  room.setPosition({ seq: 2, stored: 2, change: 0 })
  expect(ran).toEqual([0, 1, 2])
})
