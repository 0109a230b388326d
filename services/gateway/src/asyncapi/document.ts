import { CHAT_NAMESPACE, CLIENT_EVENTS, ConnectErrorData, Problem, SERVER_EVENTS } from '@parley/contract'
import { z } from 'zod'

const VERSION = '1.0.0'

type JsonSchema = Record<string, unknown>

/** Turns zod schemas into JSON Schema; those with an id appear once, under `components`. */
function createSchemas() {
  const shared: Record<string, JsonSchema> = {}

  function moved(value: unknown): unknown {
    if (Array.isArray(value)) return value.map(moved)
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(
      Object.entries(value).map(([key, inner]) =>
        key === '$ref' && typeof inner === 'string'
          ? [key, inner.replace('#/$defs/', '#/components/schemas/')]
          : [key, moved(inner)],
      ),
    )
  }

  return {
    shared,
    of(schema: z.ZodType, io: 'input' | 'output'): JsonSchema {
      const made = z.toJSONSchema(schema, {
        io,
        unrepresentable: 'any',
        reused: 'inline',
        override: ({ jsonSchema }) => {
          // Clients ignore fields that they don't know; the server refuses them.
          if (io === 'output' && jsonSchema.additionalProperties === false) {
            delete jsonSchema.additionalProperties
          }
        },
      })
      const { $schema: _, $defs = {}, ...rest } = made
      for (const [name, definition] of Object.entries($defs)) {
        const { id: __, ...body } = definition
        shared[name] = asObject(moved(body))
      }
      return asObject(moved(rest))
    },
  }
}

const asObject = (value: unknown): JsonSchema =>
  typeof value === 'object' && value !== null ? { ...value } : {}

/** Socket.IO's own; not one of our events. */
const CONNECT_ERROR = {
  summary: 'The handshake was refused. Sent to the client that tried to connect.',
  payload: z.strictObject({ message: z.string(), data: ConnectErrorData }),
}

/** Message and operation names have no colon. */
const nameOf = (event: string): string => event.replace(/[:.]/g, '-')

/** The AsyncAPI 3 document of the sockets, made from the schemas that validate them. */
export function asyncApiDocument() {
  const schemas = createSchemas()
  const sent = Object.entries(CLIENT_EVENTS).map(([event, { summary, payload, result }]) => ({
    event,
    summary,
    payload,
    result,
    channel: `client-${nameOf(event)}`,
  }))
  const received = Object.entries({ connect_error: CONNECT_ERROR, ...SERVER_EVENTS }).map(
    ([event, { summary, payload }]) => ({ event, summary, payload, channel: `server-${nameOf(event)}` }),
  )
  const failed = z.strictObject({ ok: z.literal(false), error: Problem })
  return {
    asyncapi: '3.0.0',
    info: {
      title: 'Parley: sockets',
      version: VERSION,
      description: [
        `Socket.IO 4, namespace \`${CHAT_NAMESPACE}\`, over polling or websocket.`,
        'The handshake carries `auth: {token}`; a refused one ends in `connect_error`.',
        'Every client event takes one payload and an acknowledgement: `{ok: true, …}` or `{ok: false, error}`.',
        'Without an acknowledgement, a failure arrives as `message:error`.',
        'What the server sends may have fields that are not named here: ignore them. Payloads sent by clients must not have any.',
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
        ...sent.flatMap(({ event, summary, channel, payload, result }) => [
          [channel, { name: event, summary, payload: schemas.of(payload, 'input') }],
          [
            `${channel}-ack`,
            {
              name: `${event} (acknowledgement)`,
              payload: {
                oneOf: [
                  {
                    allOf: [
                      { type: 'object', properties: { ok: { const: true } }, required: ['ok'] },
                      schemas.of(result, 'output'),
                    ],
                  },
                  schemas.of(failed, 'output'),
                ],
              },
            },
          ],
        ]),
        ...received.map(({ event, summary, channel, payload }) => [
          channel,
          { name: event, summary, payload: schemas.of(payload, 'output') },
        ]),
      ]),
      schemas: schemas.shared,
    },
  }
}
