import type {
  AuditEntry,
  ChangesPage,
  ClientPayload,
  Conversation,
  ConversationContext,
  ConversationStatus,
  ConversationSummary,
  CreateConversation,
  Me,
  Message,
  MessageRole,
  MessageStatistics,
  Page,
  Participant,
  ParticipantRef,
  ParticipantRole,
  ParticipantType,
  Presence,
  ReadResult,
  SearchHit,
  SummaryQueued,
  UpdateConversation,
} from '@parley/contract'
import type { Http, Query, RequestOptions } from './http.ts'
import type { CallOptions, MessagePageOptions, PageOptions } from './types.ts'

export type SummaryResult = SummaryQueued | ConversationSummary

export interface ConversationFilter extends PageOptions {
  status?: ConversationStatus
  tag?: string
  agentId?: string
  externalId?: string
}

/** Half of a surrogate pair, which no URL can hold, becomes what no id is. */
const path = (...parts: string[]): string =>
  `/${parts.map((part) => encodeURIComponent(part.toWellFormed())).join('/')}`

function query<T extends CallOptions>({ signal: _signal, ...rest }: T): Query {
  return rest as Query
}

export type Rest = ReturnType<typeof createRest>

/** Every REST call of the contract. `gateway` serves presence, `api` the rest; one origin may serve both. */
export function createRest(api: Http, gateway: Http) {
  const get = <T>(url: string, options: CallOptions = {}) =>
    api.request<T>('GET', url, { query: query(options), signal: options.signal })
  const call = <T>(method: string, url: string, options: RequestOptions = {}) =>
    api.request<T>(method, url, options)
  const repeatable = (body: unknown, { signal }: CallOptions): RequestOptions => ({
    body,
    repeatable: true,
    signal,
  })

  const conversations = {
    /** Repeated by itself where nothing answered only if it has an `externalId`; a second one would be made else. */
    create: (body: CreateConversation, options: CallOptions = {}) =>
      call<Conversation>('POST', '/conversations', {
        body,
        repeatable: body.externalId !== undefined,
        signal: options.signal,
      }),
    get: (id: string, options: CallOptions = {}) => get<Conversation>(path('conversations', id), options),
    /** Those that the caller takes part in; all of the org's for admins. Latest activity first. */
    list: (options: ConversationFilter = {}) => get<Page<Conversation>>('/conversations', options),
    mine: (options: PageOptions = {}) => get<Page<Conversation>>('/conversations/my-conversations', options),
    ofAgent: (agentId: string, options: PageOptions = {}) =>
      get<Page<Conversation>>(path('conversations', 'agent', agentId), options),
    /** The agent's one active auto conversation, found or made. */
    auto: (agentId: string, options: CallOptions = {}) =>
      call<Conversation>(
        'POST',
        path('conversations', 'agent', agentId, 'auto'),
        repeatable(undefined, options),
      ),
    update: (id: string, body: UpdateConversation, options: CallOptions = {}) =>
      call<Conversation>('PUT', path('conversations', id), { body, signal: options.signal }),
    delete: (id: string, options: CallOptions = {}) =>
      call<void>('DELETE', path('conversations', id), { signal: options.signal }),
    archive: (id: string, options: CallOptions = {}) =>
      call<Conversation>('POST', path('conversations', id, 'archive'), repeatable(undefined, options)),
    close: (id: string, options: CallOptions = {}) =>
      call<Conversation>('POST', path('conversations', id, 'close'), repeatable(undefined, options)),
    reopen: (id: string, options: CallOptions = {}) =>
      call<Conversation>('POST', path('conversations', id, 'reopen'), repeatable(undefined, options)),
    /** Requests a summary of everything so far; `wait` answers with the summary, or after 30 s that it is queued. */
    summarize: (id: string, { wait = false, signal }: CallOptions & { wait?: boolean } = {}) =>
      call<SummaryResult>('POST', path('conversations', id, 'summary'), {
        ...repeatable(undefined, { signal }),
        query: { wait: wait ? 'true' : undefined },
        timeoutMs: 40_000,
      }),
    context: (id: string, options: CallOptions & { maxTokens?: number; recent?: number } = {}) =>
      get<ConversationContext>(path('conversations', id, 'context'), options),
    /** Marks everything up to `seq` as read; never goes back. */
    read: (id: string, seq: number, options: CallOptions = {}) =>
      call<ReadResult>('POST', path('conversations', id, 'read'), repeatable({ seq }, options)),
    /** The latest state of each thing that changed after that number, ascending. */
    changes: (id: string, options: CallOptions & { after?: number; limit?: number } = {}) =>
      get<ChangesPage>(path('conversations', id, 'changes'), options),
    audit: (id: string, options: PageOptions = {}) =>
      get<Page<AuditEntry>>(path('conversations', id, 'audit'), options),
  }

  const participants = {
    list: (id: string, options: PageOptions = {}) =>
      get<Page<Participant>>(path('conversations', id, 'participants'), options),
    add: (id: string, body: ParticipantRef & { role?: ParticipantRole }, options: CallOptions = {}) =>
      call<Participant>('POST', path('conversations', id, 'participants'), repeatable(body, options)),
    remove: (id: string, who: ParticipantRef, options: CallOptions = {}) =>
      call<void>('DELETE', path('conversations', id, 'participants', who.type, who.id), {
        signal: options.signal,
      }),
  }

  const messages = {
    /** As one request. `conversation(id).send()` is what retries until the answer is definite. */
    create: (body: ClientPayload<'message:send'>, options: CallOptions & { attempts?: number } = {}) =>
      call<Message>('POST', '/messages', {
        body,
        repeatable: body.clientMessageId !== undefined,
        signal: options.signal,
        ...(options.attempts === undefined ? {} : { attempts: options.attempts }),
      }),
    get: (id: string, options: CallOptions = {}) => get<Message>(path('messages', id), options),
    delete: (id: string, options: CallOptions = {}) =>
      call<void>('DELETE', path('messages', id), { signal: options.signal }),
    /** Ascending by seq; the newest page unless told where. */
    list: (conversationId: string, options: MessagePageOptions = {}) =>
      get<Page<Message>>(path('messages', 'conversation', conversationId), options),
    byRole: (conversationId: string, role: MessageRole, options: PageOptions = {}) =>
      get<Page<Message>>(path('messages', 'conversation', conversationId, 'role', role), options),
    withAttachments: (conversationId: string, options: PageOptions = {}) =>
      get<Page<Message>>(path('messages', 'conversation', conversationId, 'attachments'), options),
    search: (conversationId: string, q: string, options: PageOptions = {}) =>
      get<Page<SearchHit>>(path('messages', 'conversation', conversationId, 'search'), {
        ...options,
        q,
      } as PageOptions),
    /** The newest `count` (1–100), ascending. */
    last: (conversationId: string, count: number, options: CallOptions = {}) =>
      get<{ data: Message[] }>(
        path('messages', 'conversation', conversationId, 'last', String(count)),
        options,
      ),
    statistics: (conversationId: string, options: CallOptions = {}) =>
      get<MessageStatistics>(path('messages', 'conversation', conversationId, 'statistics'), options),
    thread: (messageId: string, options: PageOptions = {}) =>
      get<Page<Message> & { parent: Message }>(path('messages', 'thread', messageId), options),
  }

  const presence = {
    of: (type: ParticipantType, id: string, { signal }: CallOptions = {}) =>
      gateway.request<Presence>('GET', path('presence', type, id), { signal }),
    /** Who is online; admins only. */
    list: (type: ParticipantType, options: PageOptions = {}) =>
      gateway.request<Page<Presence>>('GET', path('presence', type), {
        query: query(options),
        signal: options.signal,
      }),
  }

  return {
    conversations,
    participants,
    messages,
    presence,
    me: (options: CallOptions = {}) => get<Me>('/me', options),
    /** Ends a person's tokens issued until now; admins only. */
    revoke: (who: ParticipantRef, options: CallOptions = {}) =>
      call<void>('POST', '/auth/revoke', repeatable(who, options)),
  }
}
