import { createSecretKey } from 'node:crypto'
import type { Caller, CreateConversation, ProblemError, PublishedEvent } from '@parley/contract'
import { createLogger } from '@parley/service-kit'
import { ObjectId } from 'mongodb'
import { createChanges } from '../../changes/changes.ts'
import { createHistory } from '../../changes/history.ts'
import { createProfiles } from '../../identity/profiles.ts'
import { createDeleteMessage } from '../../messages/delete.ts'
import { createMessageService } from '../../messages/service.ts'
import { openWorld } from '../../messages/testing/world.ts'
import { createAccess } from '../../participants/access.ts'
import { createActivity } from '../../participants/activity.ts'
import { createReadPositions } from '../../participants/read-positions.ts'
import { createRoles } from '../../participants/roles.ts'
import { createParticipantService } from '../../participants/service.ts'
import { createEventBuilder } from '../../publishing/events.ts'
import { createOutbox } from '../../publishing/outbox.ts'
import { createRelay } from '../../publishing/relay.ts'
import { createAutoConversations } from '../auto.ts'
import { createConversationMaker } from '../create.ts'
import { createConversationLists } from '../lists.ts'
import { createConversationReader } from '../reader.ts'
import { createConversationService } from '../service.ts'

export const logger = createLogger({ name: 'test', level: 'silent' })

export const caller = (id: string, more: Partial<Caller> = {}): Caller => ({
  type: 'user',
  id,
  orgId: 'acme',
  roles: ['member'],
  name: null,
  picture: null,
  ...more,
})

export const ada = caller('ada', { name: 'Ada Lovelace', picture: 'https://example.com/ada.png' })
export const bob = caller('bob')
export const eve = caller('eve')
export const admin = caller('root', { roles: ['member', 'admin'] })
export const bot = caller('bot', { type: 'agent' })
export const stranger = caller('ada', { orgId: 'other' })

/** A throw-away database with everything conversations need; may have several processes on it. */
export async function openConversationWorld(mongodbUri: string) {
  const world = await openWorld(mongodbUri)
  return { ...world, service: () => openService(world) }
}

export type Service = ReturnType<typeof openService>

function openService(world: Awaited<ReturnType<typeof openWorld>>) {
  const { database } = world
  const { client, participants, conversations, messages } = database
  const { log, pages, store, headUpdater } = world.process()
  const events: PublishedEvent[] = []
  const wire = { broken: false }
  const publisher = {
    publish: async (batch: PublishedEvent[]) => {
      if (wire.broken) throw new Error('Redis is away')
      events.push(...batch)
    },
  }
  const profiles = createProfiles({ ...database, logger })
  const access = createAccess({ conversations, roles: createRoles({ participants }) })
  const reader = createConversationReader({ rows: database, store })
  const build = createEventBuilder({ messages, participants, roomViews: reader.roomViews })
  const outbox = createOutbox({ outbox: database.outbox, publisher, build, logger })
  const { touch: touched } = createActivity({ participants, logger })
  const changes = createChanges({ client, rows: database, outbox, touched, logger })
  const readPositions = createReadPositions({ participants, publisher, logger })
  const make = createConversationMaker({ client, rows: database, profiles, outbox })
  const lists = createConversationLists({ rows: database, reader })
  const messageService = createMessageService({
    messages,
    log,
    pages,
    access,
    pricing: (usage) => (usage ? usage.totalTokens * 2 : 0),
    hashKey: createSecretKey(Buffer.alloc(32)),
  })
  return {
    events,
    wire,
    access,
    changes,
    headUpdater,
    lists,
    make,
    reader,
    outbox,
    profiles,
    readPositions,
    log,
    messages: messageService,
    relay: createRelay({ rows: database, outbox, logger, graceMs: 0 }),
    history: createHistory({ rows: database, reader, access }),
    participants: createParticipantService({ participants, access, changes, profiles }),
    deleteMessage: createDeleteMessage({
      ...database,
      changes,
      messages: messageService,
      summaryDue: () => {},
    }),
    conversations: createConversationService({
      conversations,
      access,
      reader,
      lists,
      make,
      auto: createAutoConversations({ conversations, reader, make }),
      changes,
      readPositions,
    }),
  }
}

/** A new conversation's id. */
export async function open(service: Service, by: Caller, wanted: CreateConversation = {}): Promise<string> {
  return (await service.conversations.create(by, wanted)).conversation.id
}

/** Sends a message; resolves to its id. */
export async function say(service: Service, by: Caller, cid: string, content: string): Promise<string> {
  const role = by.type === 'agent' ? 'assistant' : 'user'
  const usage = by.type === 'agent' ? { usage: { inputTokens: 10, outputTokens: content.length } } : {}
  const { row } = await service.messages.create(
    by,
    { conversationId: cid, role, content, ...usage },
    undefined,
  )
  return row._id.toHexString()
}

/** The code that a promise is rejected with; `none` if it is not. */
export const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'none',
    (error: ProblemError) => error.code ?? `${error}`,
  )

export const id = (hex: string): ObjectId => new ObjectId(hex)
