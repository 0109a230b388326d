import 'fastify'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Who may call the route: a name in the permission table; `open` asks for no token. */
    permission?: string
    /** A service's route that stores a message for the caller in its body, against whose limit it counts. */
    sends?: true
  }
}
