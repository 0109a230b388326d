import type { Publisher } from '@parley/events'
import type { Logger } from '@parley/service-kit'
import type { Redis } from 'ioredis'
import { createChanges } from './changes/changes.ts'
import { createHistory } from './changes/history.ts'
import { createAutoConversations } from './conversations/auto.ts'
import { createConversationMaker } from './conversations/create.ts'
import { createConversationLists } from './conversations/lists.ts'
import { createConversationReader } from './conversations/reader.ts'
import { createConversationService } from './conversations/service.ts'
import type { Database } from './database/client.ts'
import { createProfiles } from './identity/profiles.ts'
import { createGatewayReads } from './internal/gateway-reads.ts'
import { createDeleteMessage } from './messages/delete.ts'
import { createHeadUpdater } from './messages/head-updater.ts'
import { createMessageLog } from './messages/log.ts'
import { createMessagePages } from './messages/pages.ts'
import { createParticipantCache } from './messages/participant-cache.ts'
import { createMessageService } from './messages/service.ts'
import { createMessageStore, payloadHashKey } from './messages/store.ts'
import { createSweeper } from './messages/sweeper.ts'
import { createPricing, type ModelPrices } from './money/prices.ts'
import { createAccess } from './participants/access.ts'
import { createActivity } from './participants/activity.ts'
import { createReadPositions } from './participants/read-positions.ts'
import { createRoles } from './participants/roles.ts'
import { createParticipantService } from './participants/service.ts'
import { createEventBuilder } from './publishing/events.ts'
import { createOutbox } from './publishing/outbox.ts'
import { createRelay } from './publishing/relay.ts'
import { createSearchIndexer } from './search/indexer.ts'
import { createSearch } from './search/service.ts'
import { createStreamService } from './streams/service.ts'
import { createStreamSweeper } from './streams/sweeper.ts'
import { createContext } from './summaries/context.ts'
import { createSummaryQueue } from './summaries/queue.ts'
import { createReconciler } from './summaries/reconciler.ts'
import { createSummaryService } from './summaries/service.ts'
import { createSummaryWorkReader } from './summaries/work.ts'
import { createSummaryWriter } from './summaries/writer.ts'

export interface ServicesOptions {
  database: Database
  publisher: Publisher
  /** Fails fast; holds the latest text of streamed answers. */
  redis: Redis
  queueRedis: Redis
  logger: Logger
  prices: ModelPrices
  hopLimit: number
  /** Milliseconds between rounds of the summary reconciler. */
  reconcileMs: number
}

export type Services = Awaited<ReturnType<typeof createServices>>

/** Everything the routes call, built on the stores, and the background work: fold, sweeper, relay, reconciler. */
export async function createServices(options: ServicesOptions) {
  const { database, publisher, redis, queueRedis, logger, prices, hopLimit, reconcileMs } = options
  const { client, messages, participants, conversations, outbox: outboxRows } = database

  const pricing = createPricing(prices)
  const profiles = createProfiles({ ...database, logger })
  const roles = createRoles({ participants })
  const access = createAccess({ conversations, roles })
  const readPositions = createReadPositions({ participants, publisher, logger })
  const activity = createActivity({ participants, logger })
  const store = createMessageStore(database)
  const reader = createConversationReader({ rows: database, store })

  const build = createEventBuilder({ messages, participants, roomViews: reader.roomViews })
  const outbox = createOutbox({ outbox: outboxRows, publisher, build, logger })
  const relay = createRelay({ rows: database, outbox, logger })
  const changes = createChanges({ client, rows: database, outbox, touched: activity.touch, logger })

  const queue = createSummaryQueue({ redis: queueRedis, logger })
  const pages = createMessagePages({ messages, store })
  const summaries = createSummaryService({ conversations, access, pages, queue })
  const work = createSummaryWorkReader(database)
  const context = createContext({ access, pages, reader: work })
  const writeSummary = createSummaryWriter({ summaries: database.summaries, changes, pricing })
  const reconciler = createReconciler({ conversations, queue, logger, intervalMs: reconcileMs })

  const indexer = createSearchIndexer({ ...database, logger })
  const participantCache = createParticipantCache({ participants, roles })
  const headUpdater = createHeadUpdater({
    conversations,
    messages,
    store,
    summaryDue: summaries.due,
    touched: (moved) => {
      activity.touch(moved)
      for (const { cid } of moved) indexer.touch(cid)
    },
    logger,
  })
  const shared = {
    conversations,
    messages,
    store,
    participantCache,
    headUpdater,
    publisher,
    readPositions,
    logger,
  }
  const sweeper = createSweeper(shared)
  const log = createMessageLog({ ...shared, sweeper, hopLimit })

  const history = createHistory({ rows: database, reader, access })
  const make = createConversationMaker({ client, rows: database, profiles, outbox })
  const auto = createAutoConversations({ conversations, reader, make })
  const lists = createConversationLists({ rows: database, reader })
  const hashKey = await payloadHashKey(database.db)
  const messageService = createMessageService({
    messages,
    log,
    pages,
    access,
    pricing,
    hashKey,
  })
  const streams = createStreamService({
    messages,
    access,
    append: log.append,
    changes,
    pricing,
    hashKey,
    summaryDue: summaries.due,
  })
  const streamSweeper = createStreamSweeper({ messages, redis, streams, logger })

  return {
    context,
    history,
    lists,
    profiles,
    queue,
    readPositions,
    streams,
    summaries,
    work,
    writeSummary,
    conversations: createConversationService({
      conversations,
      access,
      reader,
      lists,
      make,
      auto,
      changes,
      readPositions,
    }),
    participants: createParticipantService({ participants, access, changes, profiles }),
    search: createSearch({ ...database, access, pages, indexer }),
    gatewayReads: createGatewayReads({ database, store, pages, history, reader }),
    messages: messageService,
    deleteMessage: createDeleteMessage({
      ...database,
      changes,
      messages: messageService,
      summaryDue: summaries.due,
    }),

    /** Starts the background work. */
    start(): void {
      for (const periodic of [sweeper, streamSweeper, relay, reconciler]) void periodic.start()
    },
    /** The streams are back: publish at once what waited for them. */
    wake(): void {
      relay.wake()
      sweeper.wake()
      readPositions.wake()
    },
    /** The queue is back: queue at once what waited for it. */
    wakeQueue: reconciler.wake,
    /** Ends the background work, and writes what waits in memory. */
    async close(): Promise<void> {
      log.close()
      await streamSweeper.close()
      await Promise.all([sweeper.close(), relay.close(), reconciler.close(), indexer.close()])
      await headUpdater.close()
      await Promise.all([changes.idle(), readPositions.idle(), activity.idle(), profiles.close()])
      await queue.close()
    },
  }
}
