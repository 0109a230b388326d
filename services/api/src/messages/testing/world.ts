import type { PublishedEvent } from '@parley/contract'
import { ObjectId } from 'mongodb'
import { connectDatabase, type Database } from '../../database/client.ts'
import type { ReadPosition } from '../../participants/read-positions.ts'
import { createRoles } from '../../participants/roles.ts'
import { emptyFold } from '../fold.ts'
import { createHeadUpdater } from '../head-updater.ts'
import { createMessageLog } from '../log.ts'
import type { MessageDraft } from '../message.ts'
import { createMessagePages } from '../pages.ts'
import { createParticipantCache } from '../participant-cache.ts'
import { createMessageStore, type MessageStore } from '../store.ts'
import { createSweeper } from '../sweeper.ts'

const silent = { warn: () => {} }

/** A throw-away database with the message log on it; several logs on one database stand for several processes. */
export async function openWorld(mongodbUri: string) {
  const uri = new URL(mongodbUri)
  uri.pathname = `/log-${new ObjectId().toHexString()}`
  const database = await connectDatabase(uri.href, { monitorCommands: true })
  return {
    database,
    process: (change?: (store: MessageStore) => MessageStore) => openProcess(database, change),
    conversation: (participants: Record<string, 'owner' | 'member' | 'observer'>) =>
      createConversation(database, participants),
    async close() {
      await database.db.dropDatabase()
      await database.close()
    },
  }
}

function openProcess(database: Database, change: (store: MessageStore) => MessageStore = (store) => store) {
  const store = change(createMessageStore(database))
  const events: PublishedEvent[] = []
  const due: number[] = []
  const noted: ReadPosition[] = []
  const wire = { broken: false }
  const publisher = {
    publish: async (batch: PublishedEvent[]) => {
      if (wire.broken) throw new Error('Redis is away')
      events.push(...batch)
    },
  }
  const participantCache = createParticipantCache({
    participants: database.participants,
    roles: createRoles({ participants: database.participants }),
  })
  const headUpdater = createHeadUpdater({
    ...database,
    store,
    summaryDue: ({ settledSeq }) => due.push(settledSeq),
    touched: () => {},
    logger: silent,
  })
  const readPositions = { note: (position: ReadPosition) => noted.push(position) }
  const shared = {
    ...database,
    store,
    participantCache,
    headUpdater,
    publisher,
    readPositions,
    logger: silent,
  }
  const sweeper = createSweeper(shared)
  return {
    log: createMessageLog({ ...shared, sweeper, hopLimit: 8 }),
    pages: createMessagePages(shared),
    sweeper,
    headUpdater,
    store,
    events,
    due,
    noted,
    wire,
  }
}

async function createConversation(
  database: Database,
  participants: Record<string, 'owner' | 'member' | 'observer'>,
): Promise<ObjectId> {
  const cid = new ObjectId()
  const at = new Date()
  const entries = Object.entries(participants)
  const by = entries[0]?.[0] ?? 'user:nobody'
  await database.participants.insertMany(
    entries.map(([key, role]) => ({
      _id: new ObjectId(),
      cid,
      org: 'acme',
      key,
      role,
      joinedAt: at,
      readSeq: 0,
      activityAt: at,
    })),
  )
  await database.conversations.insertOne({
    _id: cid,
    org: 'acme',
    title: '',
    tags: [],
    metadata: {},
    status: 'active',
    participantCount: entries.length,
    membersRev: new ObjectId(),
    ...emptyFold,
    changeSeq: 0,
    ownChangeSeq: 0,
    contentRev: 0,
    summaryCoversSeq: 0,
    createdAt: at,
    createdBy: by,
    updatedAt: at,
    updatedBy: by,
  })
  return cid
}

/** A plain message; the hash stands in for the one that the service would make of the payload. */
export function draft(author: string, content: string, clientMessageId?: string): MessageDraft {
  const message: MessageDraft = {
    _id: new ObjectId(),
    author,
    role: author.startsWith('agent:') ? 'assistant' : 'user',
    type: 'text',
    status: 'sent',
    content,
  }
  if (clientMessageId !== undefined) {
    message.clientMessageId = clientMessageId
    message.payloadHash = content
  }
  return message
}
