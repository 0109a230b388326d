import { defineEvent } from './define-event.ts'

/** `message:stream`: an agent's answer as it comes into being; see streaming/. */
export const messageStream = defineEvent('message:stream', ({ streams }) => async (socket, payload) => {
  switch (payload.op) {
    case 'start':
      return streams.start(socket, payload)
    case 'delta':
      streams.delta(socket, payload)
      return {}
    case 'end':
      return streams.end(socket, payload)
    case 'abort':
      return streams.abort(socket, payload)
  }
})
