import { gzipSync } from 'node:zlib'
import { type Agent, createAgent, createParley, type Parley } from '@parley/client'
import { type Stack, startStack } from '@parley/devstack'
import type { Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { hasChromium, launchChromium } from './chromium.ts'
import type { Chat } from './page.ts'
import { bundle, serveSite } from './site.ts'

declare global {
  /** Inside the page. */
  var chat: Chat
}

const ORG = 'browsers'
let script: string
let site: Awaited<ReturnType<typeof serveSite>>
let stack: Stack
let chromium: Awaited<ReturnType<typeof launchChromium>>
let ada: Parley

describe.skipIf(!hasChromium)('the SDK in a browser', () => {
  beforeAll(async () => {
    script = await bundle()
    site = await serveSite('chat.example', script)
    ;[stack, chromium] = await Promise.all([
      startStack({ gateways: 2, workers: 0, supervise: true, env: { CORS_ORIGINS: site.origin } }),
      launchChromium(),
    ])
    ada = createParley({ apiUrl: stack.apiUrl, gatewayUrls: stack.gatewayUrls, token: tokenOf('ada') })
  }, 120_000)
  afterAll(async () => {
    ada?.close()
    await chromium?.close()
    await stack?.close()
    await site?.close()
  })
  afterEach(async () => {
    for (const context of chromium.browser.contexts()) await context.close()
  })

  const tokenOf = (sub: string, type: 'user' | 'agent' = 'user') => stack.token({ sub, orgId: ORG, type })

  async function open(origin = site.origin): Promise<Page> {
    // Each a browser of its own.
    const page = await (await chromium.browser.newContext()).newPage()
    await page.goto(origin)
    await page.waitForFunction(() => chat)
    return page
  }

  async function enter(page: Page, sub: string, conversationId: string, gatewayUrls = stack.gatewayUrls) {
    const options = { apiUrl: stack.apiUrl, gatewayUrls, token: tokenOf(sub), conversationId }
    await page.evaluate((given) => chat.enter(given), options)
  }

  it('needs nothing of Node, and is as small as docs/client.md says', () => {
    expect(script).not.toMatch(/\bnode:|\brequire\(|browser-external/)
    expect(gzipSync(script).length).toBeLessThan(25_000)
  })

  it('hands the same messages to pages on two gateways, in one order, through the death of one of them', async () => {
    const { id } = await ada.conversations.create({ participants: [{ type: 'user', id: 'grace' }] })
    const [first, second] = [await open(), await open()]
    await enter(first, 'ada', id)
    await enter(second, 'grace', id, stack.gatewayUrls.toReversed())
    const sayTen = (page: Page, who: string) =>
      page.evaluate(async (name) => {
        for (let line = 1; line <= 10; line++) await chat.say(`${name} ${line}`)
      }, who)
    await sayTen(first, 'before')
    await Promise.all([sayTen(first, 'ada'), sayTen(second, 'grace'), stack.kill('gateway-0')])
    await sayTen(first, 'after')
    // Until it has a gateway again, a page sends by REST.
    await expect.poll(() => first.evaluate(() => chat.connections), { timeout: 20_000 }).toBeGreaterThan(1)
    const stored = (await ada.messages.list(id)).data.map(({ seq, content }) => `${seq} ${content}`)
    expect(stored).toHaveLength(40)
    for (const page of [first, second]) {
      await expect.poll(() => page.evaluate(() => chat.heard), { timeout: 20_000 }).toEqual(stored)
    }
  })

  it('catches up when a page without network has it again, and its gateway is another', async () => {
    const { id } = await ada.conversations.create({ participants: [{ type: 'user', id: 'grace' }] })
    const page = await open()
    await enter(page, 'grace', id)
    await page.context().setOffline(true)
    const lines = ['One', 'two', 'three']
    for (const content of lines) await ada.messages.create({ conversationId: id, role: 'user', content })
    await stack.kill('gateway-0')
    expect(await page.evaluate(() => chat.heard)).toEqual([])
    await page.context().setOffline(false)
    await expect
      .poll(() => page.evaluate(() => chat.heard), { timeout: 20_000 })
      .toEqual(lines.map((line, index) => `${index + 1} ${line}`))
  })

  it('shows an answer as it is written, and cancels it', async () => {
    const agent: Agent = createAgent({
      apiUrl: stack.apiUrl,
      gatewayUrls: stack.gatewayUrls,
      token: tokenOf('helper', 'agent'),
    })
    agent.onMessage(async (_question, { stream, signal }) => {
      const answer = stream({ model: 'none' })
      for (let word = 1; !signal.aborted; word++) {
        answer.write(`${word} `)
        await new Promise((resolve) => setTimeout(resolve, 30))
      }
    })
    await agent.start()
    try {
      const { id } = await ada.conversations.create({ participants: [{ type: 'agent', id: 'helper' }] })
      const page = await open()
      await enter(page, 'ada', id)
      await page.evaluate(() => chat.say('Count for me'))
      const shown = await page.waitForFunction(() => {
        const { shown } = chat
        return shown.length > 5 ? shown : null
      })
      const texts = await shown.jsonValue()
      const messageId = texts?.[0]?.messageId ?? ''
      for (const [index, { content }] of (texts ?? []).entries()) {
        expect(content.startsWith(texts?.[index - 1]?.content ?? '')).toBe(true)
      }
      await page.evaluate((answer) => chat.cancel(answer), messageId)
      await page.waitForFunction((answer) => chat.ended[answer] === 'cancelled', messageId)
    } finally {
      await agent.stop()
    }
  })

  it('does not work on pages of an origin that is not allowed', async () => {
    const { id } = await ada.conversations.create({ title: 'Not for everybody' })
    const other = await serveSite('elsewhere.example', script)
    try {
      const page = await open(other.origin)
      await expect(enter(page, 'ada', id)).rejects.toThrow()
      const rest = await page.evaluate(
        async ([apiUrl, token]) => {
          const headers = { authorization: `Bearer ${token}` }
          return fetch(`${apiUrl}/me`, { headers }).then(
            () => 'readable',
            () => 'not readable',
          )
        },
        [stack.apiUrl, tokenOf('ada')] as const,
      )
      expect(rest).toBe('not readable')
      expect(await page.evaluate(() => chat.failures)).toEqual(['origin_not_allowed'])
    } finally {
      await other.close()
    }
  })
})
