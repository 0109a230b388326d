import { Conversation, LIMITS, RoomConversation } from '@parley/contract'
import { ObjectId } from 'mongodb'
import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest'
import { createProfiles } from '../identity/profiles.ts'
import { createAutoConversations } from './auto.ts'
import {
  ada,
  admin,
  bob,
  bot,
  caller,
  codeOf,
  eve,
  id,
  logger,
  open,
  openConversationWorld,
  type Service,
  say,
  stranger,
} from './testing/world.ts'

let world: Awaited<ReturnType<typeof openConversationWorld>>
let service: Service
beforeAll(async () => {
  world = await openConversationWorld(inject('mongodbUri'))
  service = world.service()
})
afterAll(() => world.close())

const fresh = () => `k${Math.random().toString(36).slice(2)}`
const missing = '665f1c2ab1d4e8a3c9d0f1a2'

describe('creating', () => {
  test('the caller owns it, the agent is a member, others have the role they were given', async () => {
    const { conversation, created } = await service.conversations.create(ada, {
      title: 'Engine',
      description: 'Notes',
      agentId: 'bot',
      tags: ['maths'],
      metadata: { 'a.b': { $: 1 } },
      participants: [
        { type: 'user', id: 'bob' },
        { type: 'user', id: 'eve', role: 'observer' },
        { type: 'user', id: 'ada', role: 'observer' },
      ],
    })
    expect(created).toBe(true)
    expect(Conversation.parse(conversation)).toEqual(conversation)
    expect(conversation.participants.map(({ type, id, role }) => `${type}:${id} ${role}`)).toEqual([
      'user:ada owner',
      'user:bob member',
      'user:eve observer',
      'agent:bot member',
    ])
    expect(conversation.participants[0]).toMatchObject({
      name: 'Ada Lovelace',
      avatarUrl: 'https://example.com/ada.png',
    })
    expect(conversation.me).toEqual({ role: 'owner', readSeq: 0, unread: 0 })
    expect(await service.conversations.get(ada, conversation.id)).toEqual(conversation)
    expect((await service.conversations.get(bob, conversation.id)).me?.role).toBe('member')
  })

  test('the event names every participant', async () => {
    const cid = await open(service, ada, { agentId: 'bot' })
    await service.outbox.idle()
    const event = service.events.find((one) => one.cid === cid)
    expect(event).toMatchObject({ type: 'conversation.created', org: 'acme', to: ['user:ada', 'agent:bot'] })
    expect(event).not.toHaveProperty('change')
    expect(RoomConversation.parse(JSON.parse(event?.data ?? '')).id).toBe(cid)
    expect(await world.database.outbox.countDocuments({ cid: id(cid) })).toBe(0)
  })

  test('an external id makes one conversation, however many ask at once', async () => {
    const [one, two] = [world.service(), world.service()]
    const externalId = fresh()
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) => (i % 2 ? one : two).conversations.create(ada, { externalId })),
    )
    expect(new Set(answers.map(({ conversation }) => conversation.id)).size).toBe(1)
    expect(answers.filter(({ created }) => created)).toHaveLength(1)
    expect(await codeOf(service.conversations.create(bob, { externalId }))).toBe('conflict')
    expect(
      await codeOf(service.conversations.create(caller('x', { orgId: 'elsewhere' }), { externalId })),
    ).toBe('none')
  })

  test('an external id is free again, also for somebody who just found its conversation before it was deleted', async () => {
    const { conversations } = world.database
    const externalId = fresh()
    const cid = await open(service, ada, { externalId })
    vi.spyOn(conversations, 'findOne').mockImplementationOnce(async (...query) => {
      const found = await conversations.findOne(...query)
      await service.conversations.remove(ada, cid)
      return found
    })
    const { conversation, created } = await service.conversations.create(ada, { externalId })
    expect([created, conversation.id === cid]).toEqual([true, false])
  })

  test('names come from the tokens people have shown, then and later', async () => {
    const name = fresh()
    const person = caller(name, { name: 'Grace', picture: null })
    service.profiles.seen({ caller: person, issuedAt: 1, expiresAt: 2 })
    const cid = await open(service, ada, { participants: [{ type: 'user', id: name }] })
    const named = async () =>
      (await service.conversations.get(ada, cid)).participants.find((p) => p.id === name)
    expect(await named()).toMatchObject({ name: 'Grace', avatarUrl: null })
    const picture = '$org'
    service.profiles.seen({ caller: { ...person, name: '$key', picture }, issuedAt: 2, expiresAt: 3 })
    await service.profiles.close()
    expect(await named()).toMatchObject({ name: '$key', avatarUrl: '$org' })
    // Another process has not seen the newer token.
    const other = world.service()
    other.profiles.seen({ caller: person, issuedAt: 1, expiresAt: 2 })
    await other.profiles.close()
    expect(await named()).toMatchObject({ name: '$key', avatarUrl: '$org' })
  })

  test('a name that could not be put into conversations at first is put there with the next token', async () => {
    const name = fresh()
    const cid = await open(service, ada, { participants: [{ type: 'user', id: name }] })
    const { database } = world
    const updateMany = vi
      .spyOn(database.participants, 'updateMany')
      .mockRejectedValueOnce(new Error('no primary'))
    const shownBy = async (issuedAt: number) => {
      const profiles = createProfiles({ ...database, logger })
      profiles.seen({ caller: caller(name, { name: 'Grace' }), issuedAt, expiresAt: 99 })
      await profiles.close()
      const { participants } = await service.conversations.get(ada, cid)
      return participants.find((p) => p.id === name)?.name
    }
    expect(await shownBy(1)).toBe(null)
    updateMany.mockRestore()
    expect(await shownBy(1)).toBe('Grace')
    // And is not written again with each.
    const again = vi.spyOn(database.participants, 'updateMany')
    expect(await shownBy(1)).toBe('Grace')
    expect(again).not.toHaveBeenCalled()
    again.mockRestore()
  })

  test('an older token that another process stores at the same moment does not keep the newer name out', async () => {
    const name = fresh()
    const cid = await open(service, ada, { participants: [{ type: 'user', id: name }] })
    const { profiles } = world.database
    const older = { _id: { org: 'acme', key: `user:${name}` }, name: 'G.', issuedAt: 1 }
    const replaceOne = vi.spyOn(profiles, 'replaceOne').mockImplementationOnce(async () => {
      await profiles.insertOne(older)
      // What is said to whoever is second.
      throw await profiles.insertOne(older).catch((error: unknown) => error)
    })
    const process = world.service()
    process.profiles.seen({ caller: caller(name, { name: 'Grace' }), issuedAt: 2, expiresAt: 99 })
    await process.profiles.close()
    replaceOne.mockRestore()
    const { participants } = await service.conversations.get(ada, cid)
    expect(participants.find((p) => p.id === name)?.name).toBe('Grace')
  })

  test('of tokens that processes see at once the newest gives the name', async () => {
    const name = fresh()
    const cid = await open(service, ada, { participants: [{ type: 'user', id: name }] })
    const processes = Array.from({ length: 8 }, () => world.service())
    for (const [issuedAt, { profiles }] of processes.entries()) {
      profiles.seen({ caller: caller(name, { name: `Grace ${issuedAt}` }), issuedAt, expiresAt: 99 })
    }
    await Promise.all(processes.map(({ profiles }) => profiles.close()))
    const { participants } = await service.conversations.get(ada, cid)
    expect(participants.find((p) => p.id === name)?.name).toBe('Grace 7')
  })
})

describe('who may', () => {
  test('another org, a stranger and a missing id get the same answer', async () => {
    const cid = await open(service, ada)
    for (const [who, which] of [
      [stranger, cid],
      [bob, cid],
      [ada, missing],
    ] as const) {
      expect(await codeOf(service.conversations.get(who, which))).toBe('not_found')
      expect(await codeOf(service.conversations.update(who, which, { title: 'x' }))).toBe('not_found')
      expect(await codeOf(service.conversations.remove(who, which))).toBe('not_found')
      expect(await codeOf(service.conversations.markRead(who, which, 1))).toBe('not_found')
      expect(await codeOf(service.participants.list(who, which, {}))).toBe('not_found')
      expect(await codeOf(service.participants.add(who, which, { type: 'user', id: 'x' }))).toBe('not_found')
      expect(await codeOf(service.history.changes(who, which, {}))).toBe('not_found')
      expect(await codeOf(service.history.audit(who, which, {}))).toBe('not_found')
    }
  })

  test('members can read but not manage; admins can manage without taking part', async () => {
    const cid = await open(service, ada, { participants: [{ type: 'user', id: 'bob' }] })
    expect(await codeOf(service.conversations.update(bob, cid, { title: 'x' }))).toBe('forbidden')
    expect(await codeOf(service.conversations.remove(bob, cid))).toBe('forbidden')
    expect(await codeOf(service.history.audit(bob, cid, {}))).toBe('forbidden')
    expect(await codeOf(service.conversations.markRead(admin, cid, 1))).toBe('forbidden')
    const updated = await service.conversations.update(admin, cid, { title: 'By the admin' })
    expect(updated).toMatchObject({
      title: 'By the admin',
      me: null,
      updatedBy: { type: 'user', id: 'root' },
    })
  })
})

describe('updating', () => {
  test('replaces what is given, clears by null, counts once, and says what changed', async () => {
    const cid = await open(service, ada, { title: 'One', description: 'd', tags: ['t'], metadata: { a: 1 } })
    const first = await service.conversations.update(ada, cid, {
      title: 'Two',
      description: null,
      tags: null,
      metadata: { b: 2 },
    })
    expect(first).toMatchObject({
      title: 'Two',
      description: null,
      tags: [],
      metadata: { b: 2 },
      changeSeq: 1,
    })
    const same = await service.conversations.update(ada, cid, { title: 'Two' })
    expect(same.changeSeq).toBe(1)
    await service.outbox.idle()
    const event = service.events.find((one) => one.cid === cid && one.change === 1)
    expect(JSON.parse(event?.data ?? '').changed).toEqual(['title', 'description', 'tags', 'metadata'])
    const audit = await service.history.audit(ada, cid, {})
    expect(audit.data.map(({ action, changeSeq }) => [action, changeSeq])).toEqual([
      ['conversation.update', 1],
      ['conversation.create', 0],
    ])
    expect(audit.data[0]).toMatchObject({
      before: { title: 'One', description: 'd', tags: ['t'], metadata: { a: 1 } },
      after: { title: 'Two', description: null, tags: [], metadata: { b: 2 } },
    })
  })

  test('counts as the last change, though a message from before it is counted later', async () => {
    const cid = await open(service, ada, { participants: [{ type: 'user', id: 'bob' }] })
    await say(service, bob, cid, 'hello')
    const { updatedAt } = await service.conversations.update(ada, cid, { title: 'Two' })
    await service.headUpdater.flush()
    expect(await service.conversations.get(ada, cid)).toMatchObject({ updatedAt, updatedBy: { id: 'ada' } })
  })

  test('closed and archived take no messages, reopened ones do', async () => {
    const cid = await open(service, ada)
    for (const status of ['archived', 'closed'] as const) {
      expect((await service.conversations.setStatus(ada, cid, status)).status).toBe(status)
      expect(await codeOf(say(world.service(), ada, cid, 'hello'))).toBe('conversation_not_active')
    }
    await service.conversations.update(ada, cid, { status: 'active' })
    expect(await codeOf(say(world.service(), ada, cid, 'hello'))).toBe('none')
    const { data } = await service.history.audit(ada, cid, {})
    expect(data.map(({ action }) => action)).toEqual([
      'conversation.reopen',
      'conversation.close',
      'conversation.archive',
      'conversation.create',
    ])
  })

  test('a deleted conversation is gone for everybody, and its external id is free', async () => {
    const externalId = fresh()
    const cid = await open(service, ada, { externalId, agentId: 'bot' })
    const message = await say(service, ada, cid, 'hello')
    await service.conversations.remove(ada, cid)
    for (const who of [ada, admin, bot])
      expect(await codeOf(service.conversations.get(who, cid))).toBe('not_found')
    expect(await codeOf(service.messages.get(ada, message))).toBe('not_found')
    expect(await codeOf(say(world.service(), ada, cid, 'more'))).toBe('not_found')
    expect((await service.lists.mine(ada, { limit: 100 })).data.map((one) => one.id)).not.toContain(cid)
    expect((await service.lists.list(admin, { limit: 100 })).data.map((one) => one.id)).not.toContain(cid)
    expect((await service.conversations.create(bob, { externalId })).created).toBe(true)
    await service.outbox.idle()
    const event = service.events.find((one) => one.cid === cid && one.type === 'conversation.deleted')
    expect(event).toMatchObject({ change: 1, to: ['user:ada', 'agent:bot'], data: 'null' })
  })

  test('no summary is due of a conversation that was deleted before its messages were counted', async () => {
    const cid = await open(service, ada)
    for (let n = 0; n < LIMITS.summaryBucket; n++) await say(service, ada, cid, `line ${n}`)
    await service.conversations.remove(ada, cid)
    await service.headUpdater.flush()
    const head = await world.database.conversations.findOne({ _id: id(cid) })
    expect(head).toMatchObject({ settledSeq: LIMITS.summaryBucket, deletedAt: expect.any(Date) })
    expect(head).not.toHaveProperty('summaryDue')
  })
})

describe('the auto conversation', () => {
  test('is one, also for 100 requests at once over two processes, and a closed one is replaced', async () => {
    const agent = caller(fresh(), { type: 'agent' })
    const services = [world.service(), world.service()]
    const ask = () =>
      Promise.all(
        Array.from({ length: 100 }, (_, i) =>
          (services[i % 2] ?? service).conversations.auto(agent, agent.id),
        ),
      )
    const answers = await ask()
    const [first] = answers
    expect(new Set(answers.map(({ conversation }) => conversation.id)).size).toBe(1)
    expect(answers.filter(({ created }) => created)).toHaveLength(1)
    expect(first?.conversation).toMatchObject({ agentId: agent.id, status: 'active', me: { role: 'owner' } })

    await service.conversations.setStatus(agent, first?.conversation.id ?? '', 'closed')
    const second = await ask()
    expect(new Set(second.map(({ conversation }) => conversation.id)).size).toBe(1)
    expect(second[0]?.conversation.id).not.toBe(first?.conversation.id)

    await service.conversations.setStatus(agent, first?.conversation.id ?? '', 'active')
    expect((await service.conversations.auto(agent, agent.id)).conversation.id).toBe(
      second[0]?.conversation.id,
    )
    await service.conversations.remove(agent, second[0]?.conversation.id ?? '')
    const ready = await service.conversations.agentReady(agent)
    expect(ready.conversation.id).not.toBe(second[0]?.conversation.id)
    expect(ready.active).toEqual([{ id: first?.conversation.id, lastSeq: 0 }])
  })

  test('is not one that was closed before it was asked for, though somebody asked earlier', async () => {
    const agent = caller(fresh(), { type: 'agent' })
    const { make, reader } = service
    const held = Promise.withResolvers<void>()
    const asked = Promise.withResolvers<void>()
    const auto = createAutoConversations({
      ...world.database,
      make,
      reader: {
        ...reader,
        states: async (...request) => {
          asked.resolve()
          await held.promise
          return reader.states(...request)
        },
      },
    })
    const { id } = (await service.conversations.auto(agent, agent.id)).conversation
    const early = auto(agent, agent.id)
    await asked.promise
    await service.conversations.setStatus(agent, id, 'closed')
    const late = auto(agent, agent.id)
    held.resolve()
    await early
    expect((await late).state.head._id.toHexString()).not.toBe(id)
  })

  test('is one in each org, though agents of the same name ask for theirs at once', async () => {
    const agent = caller(fresh(), { type: 'agent' })
    const answers = await Promise.all(
      ['acme', 'other'].map((orgId) => service.conversations.auto({ ...agent, orgId }, agent.id)),
    )
    expect(answers.map(({ conversation }) => conversation.orgId)).toEqual(['acme', 'other'])
  })

  test('has `me` null for an admin who takes no part', async () => {
    for (const created of [true, false]) {
      expect(await service.conversations.auto(admin, 'their-agent')).toMatchObject({
        created,
        conversation: { agentId: 'their-agent', me: null },
      })
    }
  })

  test('shows an admin who takes part in it their part', async () => {
    const agent = caller(fresh(), { type: 'agent' })
    const { id: cid } = (await service.conversations.auto(agent, agent.id)).conversation
    await service.participants.add(agent, cid, { type: admin.type, id: admin.id })
    expect((await service.conversations.auto(admin, agent.id)).conversation).toMatchObject({
      id: cid,
      me: { role: 'member' },
    })
  })

  test('is another one once its agent has left it', async () => {
    const agent = caller(fresh(), { type: 'agent' })
    const left = (await service.conversations.auto(agent, agent.id)).conversation.id
    await service.participants.add(agent, left, { type: 'user', id: 'ada', role: 'owner' })
    await service.participants.remove(agent, left, agent)
    expect((await service.conversations.auto(agent, agent.id)).conversation).toMatchObject({
      agentId: agent.id,
      me: { role: 'owner' },
    })
  })

  test('an agent is told of no more conversations than its socket may be in', async () => {
    const agent = caller('crowded', { type: 'agent' })
    await service.conversations.agentReady(agent)
    const cid = id(await open(service, agent))
    const { conversations, participants } = world.database
    const head = await conversations.findOne({ _id: cid })
    const row = await participants.findOne({ cid })
    if (!head || !row) throw new Error('it was made just now')
    const copies = Array.from({ length: LIMITS.roomsPerSocket }, () => new ObjectId())
    await conversations.insertMany(copies.map((_id) => ({ ...head, _id })))
    const activityAt = new Date(Date.now() + 3_600_000)
    await participants.insertMany(
      copies.map((copy) => ({ ...row, _id: new ObjectId(), cid: copy, activityAt })),
    )
    const { conversation, active } = await service.conversations.agentReady(agent)
    const told = new Set([conversation.id, ...active.map((one) => one.id)])
    expect(told.size).toBe(LIMITS.roomsPerSocket)
  })
})

describe('reading', () => {
  test('moves forward only, and never past the last message', async () => {
    const cid = await open(service, ada, { participants: [{ type: 'user', id: 'bob' }] })
    for (const text of ['one', 'two', 'three']) await say(service, ada, cid, text)
    expect((await service.conversations.get(bob, cid)).me?.unread).toBe(3)
    expect(await service.conversations.markRead(bob, cid, 2)).toEqual({ readSeq: 2, unread: 1 })
    expect(await service.conversations.markRead(bob, cid, 1)).toEqual({ readSeq: 2, unread: 1 })
    expect(await service.conversations.markRead(bob, cid, 99)).toEqual({ readSeq: 3, unread: 0 })
    await Promise.all([3, 1, 2, 0].map((seq) => service.conversations.markRead(bob, cid, seq)))
    expect((await service.conversations.get(bob, cid)).me).toEqual({ role: 'member', readSeq: 3, unread: 0 })
    const receipts = service.events.filter((one) => one.cid === cid && one.type === 'receipt.read')
    expect(receipts.map(({ data }) => JSON.parse(data ?? ''))).toEqual([
      { type: 'user', id: 'bob', readSeq: 2 },
      { type: 'user', id: 'bob', readSeq: 3 },
    ])
  })

  test('the reads of somebody who left and came back are told, though they had read further before', async () => {
    const cid = await open(service, ada, { participants: [{ type: 'user', id: 'bob' }] })
    for (const line of ['one', 'two']) await say(service, ada, cid, line)
    await service.conversations.markRead(bob, cid, 2)
    await service.participants.remove(ada, cid, { type: 'user', id: 'bob' })
    await service.participants.add(ada, cid, { type: 'user', id: 'bob' })
    await service.conversations.markRead(bob, cid, 1)
    const receipts = service.events.filter((one) => one.cid === cid && one.type === 'receipt.read')
    expect(receipts.map(({ data }) => JSON.parse(data ?? '').readSeq)).toEqual([2, 1])
  })

  test('a position that was stored but not told, as its process died, is told when it is repeated', async () => {
    const cid = await open(service, ada, { participants: [{ type: 'user', id: 'bob' }] })
    await say(service, ada, cid, 'one')
    await service.readPositions.idle()
    const later = world.service()
    const receipts = () => later.events.filter((one) => one.cid === cid && one.type === 'receipt.read')
    service.wire.broken = true
    await service.conversations.markRead(bob, cid, 1).finally(() => {
      service.wire.broken = false
    })
    for (const _ of ['first', 'second']) {
      expect(await later.conversations.markRead(bob, cid, 1)).toEqual({ readSeq: 1, unread: 0 })
      await later.readPositions.idle()
      expect(receipts().map(({ data }) => JSON.parse(data ?? ''))).toEqual([
        { type: 'user', id: 'bob', readSeq: 1 },
      ])
    }
  })
})

describe('participants', () => {
  test('are added, changed and removed, each with its number, event and audit line', async () => {
    const cid = await open(service, ada)
    const add = (role?: 'owner' | 'observer') =>
      service.participants.add(ada, cid, { type: 'user', id: 'bob', ...(role && { role }) })
    expect(await add()).toMatchObject({ created: true, participant: { role: 'member' } })
    expect(await add()).toMatchObject({ created: false, participant: { role: 'member' } })
    expect(await add('observer')).toMatchObject({ created: false, participant: { role: 'observer' } })
    expect(await codeOf(say(world.service(), bob, cid, 'hello'))).toBe('forbidden')
    await service.participants.remove(bob, cid, bob)
    expect(await codeOf(service.conversations.get(bob, cid))).toBe('not_found')
    expect(await codeOf(service.participants.remove(ada, cid, eve))).toBe('not_found')
    await service.outbox.idle()
    const events = service.events.filter((one) => one.cid === cid && one.change)
    expect(events.map(({ type, change, member }) => [type, change, member])).toEqual([
      ['participant.added', 1, 'user:bob'],
      ['conversation.updated', 2, 'user:bob'],
      ['participant.removed', 3, 'user:bob'],
    ])
    const { data } = await service.history.audit(ada, cid, {})
    expect(data.map(({ action, subject }) => [action, subject])).toEqual([
      ['participant.remove', 'user:bob'],
      ['participant.role', 'user:bob'],
      ['participant.add', 'user:bob'],
      ['conversation.create', null],
    ])
    expect((await service.conversations.get(ada, cid)).participantCount).toBe(1)
  })

  test('the last owner stays, even if two owners leave at the same moment', async () => {
    const [one, two] = [world.service(), world.service()]
    const cid = await open(service, ada, { participants: [{ type: 'user', id: 'bob', role: 'owner' }] })
    const codes = await Promise.all([
      codeOf(one.participants.remove(ada, cid, ada)),
      codeOf(two.participants.remove(bob, cid, bob)),
    ])
    expect(codes.sort()).toEqual(['last_owner', 'none'])
    const { data } = await service.participants.list(admin, cid, {})
    expect(data.map(({ role }) => role)).toEqual(['owner'])
    const last = { type: 'user' as const, id: data[0]?.id ?? '', role: 'member' as const }
    expect(await codeOf(service.participants.add(admin, cid, last))).toBe('last_owner')
  })

  test('pages lead forward and back; a conversation shows its first 20 participants, and `me` beyond them', async () => {
    const names = Array.from({ length: 60 }, (_, i) => `p${String(i).padStart(2, '0')}`)
    const cid = await open(service, ada, {
      participants: names.map((name) => ({ type: 'user' as const, id: name })),
    })
    const conversation = await service.conversations.get(caller('p59'), cid)
    expect(conversation).toMatchObject({ participantCount: 61, me: { role: 'member' } })
    expect(conversation.participants.map((one) => one.id)).toEqual(['ada', ...names.slice(0, 19)])
    const first = await service.participants.list(ada, cid, { limit: 40 })
    expect(first.page).toMatchObject({ hasMore: true, prevCursor: null })
    const second = await service.participants.list(ada, cid, {
      limit: 40,
      cursor: first.page.nextCursor ?? '',
    })
    expect(second.page).toMatchObject({ hasMore: false, nextCursor: null })
    expect([...first.data, ...second.data].map((one) => one.id)).toEqual(['ada', ...names])
    const back = await service.participants.list(ada, cid, {
      limit: 40,
      cursor: second.page.prevCursor ?? '',
    })
    expect(back.data).toEqual(first.data)
    const other = await open(service, ada)
    expect(await codeOf(service.participants.list(ada, other, { cursor: first.page.nextCursor ?? '' }))).toBe(
      'invalid_cursor',
    )
    const event = service.events.find((one) => one.cid === cid)
    expect(event?.to).toHaveLength(61)
  })

  test('a conversation has at most 1,000 participants', async () => {
    const cid = await open(service, ada)
    const at = new Date()
    await world.database.participants.insertMany(
      Array.from({ length: 998 }, (_, i) => ({
        _id: id((i + 1).toString(16).padStart(24, '0')),
        cid: id(cid),
        org: 'acme',
        key: `user:n${i}`,
        role: 'member' as const,
        joinedAt: at,
        readSeq: 0,
        activityAt: at,
      })),
    )
    await world.database.conversations.updateOne({ _id: id(cid) }, { $inc: { participantCount: 998 } })
    const codes = await Promise.all(
      ['x', 'y', 'z'].map((name) => codeOf(service.participants.add(ada, cid, { type: 'user', id: name }))),
    )
    expect(codes.sort()).toEqual(['conflict', 'conflict', 'none'])
  })
})
