import type { HttpServer } from '@parley/service-kit'

/** No request is served from a primary that may not know yet what the one before it acknowledged. */
export function currentReads(app: HttpServer, { current }: { current(): Promise<void> | undefined }): void {
  app.addHook('onRequest', (request, _reply, done) => {
    const waiting = request.routeOptions.config.permission === 'open' ? undefined : current()
    if (waiting) waiting.then(() => done(), done)
    else done()
  })
}
