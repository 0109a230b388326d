import { CHAT_NAMESPACE, CLIENT_EVENTS, ConnectErrorData, Problem, SERVER_EVENTS } from '@parley/contract'
import { z } from 'zod'

const VERSION = '1.0.0'

const jsonSchema = (schema: z.ZodType, io: 'input' | 'output') => {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any', reused: 'inline' })
  return rest
}

/** Message and operation names have no colon. */
const nameOf = (event: string): string => event.replace(/[:.]/g, '-')

/** The AsyncAPI 3 document of the sockets, made from the schemas that check them. */
export function asyncApiDocument() {
  const sent = Object.entries(CLIENT_EVENTS).map(([event, { payload, result }]) => ({
    event,
    payload,
    result,
    channel: `client-${nameOf(event)}`,
  }))
  const received = Object.entries(SERVER_EVENTS).map(([event, payload]) => ({
    event,
    payload,
    channel: `server-${nameOf(event)}`,
  }))
  const failed = z.strictObject({ ok: z.literal(false), error: Problem })
  return {
    asyncapi: '3.0.0',
    info: {
      title: 'Parley: sockets',
      version: VERSION,
      description: [
        `Socket.IO 4, namespace \`${CHAT_NAMESPACE}\`, over polling or websocket.`,
        'The handshake carries `auth: {token}`; a refused one ends in `connect_error` with the data below.',
        'Every client event takes one payload and an acknowledgement: `{ok: true, …}` or `{ok: false, error}`.',
        'Without an acknowledgement, a failure arrives as `message:error`.',
      ].join(' '),
      license: { name: 'MIT' },
    },
    defaultContentType: 'application/json',
    servers: {
      local: { host: 'localhost:3003', protocol: 'socket.io', pathname: '/socket.io' },
    },
    channels: Object.fromEntries(
      [...sent, ...received].map(({ event, channel }) => [
        channel,
        {
          address: event,
          messages: {
            [channel]: { $ref: `#/components/messages/${channel}` },
            ...(channel.startsWith('client-')
              ? { [`${channel}-ack`]: { $ref: `#/components/messages/${channel}-ack` } }
              : {}),
          },
        },
      ]),
    ),
    operations: Object.fromEntries([
      ...sent.map(({ channel }) => [
        channel,
        {
          action: 'receive',
          channel: { $ref: `#/channels/${channel}` },
          messages: [{ $ref: `#/channels/${channel}/messages/${channel}` }],
          reply: {
            channel: { $ref: `#/channels/${channel}` },
            messages: [{ $ref: `#/channels/${channel}/messages/${channel}-ack` }],
          },
        },
      ]),
      ...received.map(({ channel }) => [
        channel,
        {
          action: 'send',
          channel: { $ref: `#/channels/${channel}` },
          messages: [{ $ref: `#/channels/${channel}/messages/${channel}` }],
        },
      ]),
    ]),
    components: {
      messages: Object.fromEntries([
        ...sent.flatMap(({ event, channel, payload, result }) => [
          [channel, { name: event, payload: jsonSchema(payload, 'input') }],
          [
            `${channel}-ack`,
            {
              name: `${event} (acknowledgement)`,
              payload: {
                oneOf: [
                  {
                    allOf: [
                      { type: 'object', properties: { ok: { const: true } }, required: ['ok'] },
                      open(jsonSchema(result, 'output')),
                    ],
                  },
                  jsonSchema(failed, 'output'),
                ],
              },
            },
          ],
        ]),
        ...received.map(({ event, channel, payload }) => [
          channel,
          { name: event, payload: jsonSchema(payload, 'output') },
        ]),
      ]),
      schemas: { ConnectErrorData: jsonSchema(ConnectErrorData, 'output') },
    },
  }
}

/** A result inside an acknowledgement, where `ok` stands beside its fields. */
function open<T extends object>(schema: T): Omit<T, 'additionalProperties'> {
  const { additionalProperties: _, ...rest } = { additionalProperties: undefined, ...schema }
  return rest
}
