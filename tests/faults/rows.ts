import { backlog } from './backlog.ts'
import { d1 } from './d1-storm.ts'
import { d2 } from './d2-slow-readers.ts'
import { d3 } from './d3-malformed.ts'
import { d4 } from './d4-over-limit.ts'
import { p1 } from './p1-presence.ts'
import { r1 } from './r1-kills.ts'
import { r2 } from './r2-primary.ts'
import { r3 } from './r3-links.ts'
import { r4 } from './r4-redis.ts'
import { r5 } from './r5-vanish.ts'
import { r6 } from './r6-same-key.ts'
import { r8 } from './r8-trim.ts'
import { r9 } from './r9-summaries.ts'
import { r10 } from './r10-rolling.ts'

/** Rows on the common bed, in an order that goes from mild to rough. */
export const ROWS = { R6: r6, R5: r5, R8: r8, R10: r10, R4: r4, R1: r1, P1: p1, D1: d1, D2: d2, D3: d3 }
/** The row that needs limits. */
export const LIMITED_ROWS = { D4: d4 }
/** The row that needs three mongods. */
export const REPLICATED_ROWS = { R2: r2 }
/** The row that needs proxies in between. */
export const LINKED_ROWS = { R3: r3 }
/** Rows about summaries: each has a bed of its own kind. */
export const SUMMARY_ROWS = { R9: r9 }
export const BACKLOG_ROWS = { BACKLOG: backlog }
