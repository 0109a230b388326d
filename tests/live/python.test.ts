import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { createParley } from '@parley/client'
import { startStack } from '@parley/devstack'
import { expect, test } from 'vitest'
import { pythonWith } from '../support/python.ts'

// Its package comes from PyPI, in whatever time that takes.
test('a client in another language talks by what is documented: the lines of docs/sockets.md', {
  timeout: 180_000,
}, async () => {
  const page = await readFile(join(import.meta.dirname, '../../docs/sockets.md'), 'utf8')
  const script = /```python\n(.+?)```/s.exec(page)?.[1] ?? ''
  const [stack, python] = await Promise.all([
    startStack({ workers: 0 }),
    pythonWith('python-socketio[client]==5.*'),
  ])
  const tokenOf = (sub: string) => stack.token({ sub, orgId: 'languages' })
  const ada = createParley({ apiUrl: stack.apiUrl, gatewayUrls: stack.gatewayUrls, token: tokenOf('ada') })
  const heard: string[] = []
  try {
    const { id } = await ada.conversations.create({ participants: [{ type: 'user', id: 'grace' }] })
    const say = (content: string) => ada.messages.create({ conversationId: id, role: 'user', content })
    await say('Hello, wörld 🌊')
    const grace = python.start(['-c', script], {
      PARLEY_GATEWAY: stack.gatewayUrls[0],
      USER2: tokenOf('grace'),
      CID: id,
    })
    try {
      for (const output of [grace.stdout, grace.stderr]) {
        if (output) createInterface({ input: output }).on('line', (line) => heard.push(line))
      }
      const first = ['1 ada Hello, wörld 🌊', '2 grace Hello from Python']
      await expect.poll(() => heard, { timeout: 20_000 }).toEqual(first)
      await say('And back')
      await expect.poll(() => heard, { timeout: 20_000 }).toEqual([...first, '3 ada And back'])
    } finally {
      grace.kill('SIGKILL')
    }
  } finally {
    ada.close()
    await Promise.all([stack.close(), python.remove()])
  }
})
