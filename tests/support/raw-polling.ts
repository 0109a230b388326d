/** A polling session that speaks Engine.IO by hand. It reads only when it is told to. */
export interface RawPolling {
  readonly open: boolean
  /** Posts packets as one payload. */
  packets(packets: readonly string[]): Promise<void>
  /** Reads what waits, or waits for it, in the background. */
  read(): void
  close(): void
}

const BETWEEN_PACKETS = '\x1e'

export async function openRawPolling(url: string, token: string): Promise<RawPolling> {
  const base = `${url}/socket.io/?EIO=4&transport=polling`
  const ending = new AbortController()
  let open = true
  let address = base

  async function ask(method: 'GET' | 'POST', body?: string): Promise<string> {
    const response = await fetch(address, { method, signal: ending.signal, ...(body ? { body } : {}) })
    const text = await response.text()
    if (!response.ok) open = false
    return text
  }
  const hello = await ask('GET')
  address += `&sid=${JSON.parse(hello.slice(1)).sid}`
  await ask('POST', `40/chat,${JSON.stringify({ token })}`)
  const answer = await ask('GET')
  if (!answer.startsWith('40/chat')) throw new Error(`refused: ${answer}`)

  return {
    get open() {
      return open
    },
    async packets(packets) {
      if (open) await ask('POST', packets.join(BETWEEN_PACKETS)).catch(closed)
    },
    read() {
      if (open) ask('GET').catch(closed)
    },
    close() {
      // As a browser's page that goes says it; whether it arrives is all the same.
      if (open)
        ask('POST', '1')
          .catch(closed)
          .finally(() => ending.abort())
      open = false
    },
  }
  function closed(): string {
    open = false
    return ''
  }
}
