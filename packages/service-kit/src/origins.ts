const LOCAL = /^https?:\/\/(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?$/

/** An origin that may hold `*` for one or more labels of the host: `https://*.example.com`. */
function pattern(origin: string): RegExp {
  const parts = origin.toLowerCase().replace(/\/$/, '').split('*')
  const quoted = parts.map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
  return new RegExp(`^${quoted.join('[a-z0-9-]+(\\.[a-z0-9-]+)*')}$`)
}

export interface OriginOptions {
  /** As in `CORS_ORIGINS`; `*` alone allows all. */
  origins: string[]
  /** Outside production, any origin on this machine is allowed too. */
  production: boolean
}

/** Whether a page of this origin may call us. */
export function createOriginCheck({ origins, production }: OriginOptions): (origin: string) => boolean {
  if (origins.includes('*')) return () => true
  const patterns = origins.map(pattern)
  return (origin) =>
    (!production && LOCAL.test(origin)) || patterns.some((allowed) => allowed.test(origin.toLowerCase()))
}
