import { vi } from 'vitest'

/**
 * Milliseconds that `vi.waitFor` gives a condition unless a test says otherwise; `expect.poll` has as many by
 * vitest.config.ts. The machine may be busy with other tests, and Vitest's own second is less than it may need then;
 * what comes true sooner costs nothing.
 */
const PATIENCE_MS = 10_000

const { waitFor } = vi
vi.waitFor = (callback, options) =>
  waitFor(callback, typeof options === 'number' ? options : { timeout: PATIENCE_MS, ...options })
