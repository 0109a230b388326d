/** Milliseconds that what a room or a join waits for may take: where an api process hangs, another is asked then. */
export const ANSWER_TIMEOUT_MS = 3_000
