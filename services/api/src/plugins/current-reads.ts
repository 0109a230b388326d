import type { HttpServer } from '@parley/service-kit'

/** Serves no request from a primary that may not yet know what its predecessor acknowledged. */
export function currentReads(app: HttpServer, { current }: { current(): Promise<void> | undefined }): void {
  app.addHook('onRequest', (request, _reply, done) => {
    const waiting = request.routeOptions.config.permission === 'open' ? undefined : current()
    if (waiting) waiting.then(() => done(), done)
    else done()
  })
}
