import 'fastify'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Who may call the route: a name in the permission table; `open` asks for no token. */
    permission?: string
  }
}
