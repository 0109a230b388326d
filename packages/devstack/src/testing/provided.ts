declare module 'vitest' {
  export interface ProvidedContext {
    /** A replica set of one, shared by the run, without a database name: every test uses a database of its own. */
    mongodbUri: string
    /** A Redis server, shared by the run: every test uses keys of its own. */
    redisUrl: string
  }
}

export {}
