import { expect, test } from 'vitest'
import { createOutbound } from '../connection/outbound.ts'
import { newId } from '../testing/fake-api.ts'
import { createFakeSocket } from '../testing/fake-socket.ts'
import { encodeFrame } from './frames.ts'
import { createRoom } from './room.ts'

test('an older answer that comes later does not make a socket hear twice what a newer one held', () => {
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
