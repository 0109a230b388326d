/** Milliseconds allowed for a call that a room or a join waits for: if an api process hangs, another is asked then. */
export const ANSWER_TIMEOUT_MS = 3_000
