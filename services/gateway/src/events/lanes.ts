import type { Session } from '../connection/session.ts'

/** Runs an event of this weight (bytes) after those in the same lanes. `run` must not reject. */
export function enter(
  session: Session,
  keys: readonly string[],
  weight: number,
  run: () => Promise<void>,
): void {
  session.pending++
  session.pendingBytes += weight
  session.lanes ??= new Map()
  const { lanes } = session
  const before = keys.flatMap((key) => lanes.get(key) ?? [])
  const begun = before.length === 0 ? run() : Promise.all(before).then(run)
  const running = begun.finally(() => {
    session.pending--
    session.pendingBytes -= weight
    for (const key of keys) if (lanes.get(key) === running) lanes.delete(key)
    if (lanes.size === 0 && session.lanes === lanes) session.lanes = null
  })
  for (const key of keys) lanes.set(key, running)
}
