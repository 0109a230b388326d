import { LIMITS } from '@parley/contract'
import { comesTrue } from '../support/until.ts'

/** What a conversation says of its messages and of those that its summary covers. */
export interface Head {
  id: string
  lastSeq: number
  summaryCoversSeq: number
}

const filled = ({ lastSeq }: Head) => Math.floor(lastSeq / LIMITS.summaryBucket) * LIMITS.summaryBucket

/** Conversations with a bucket that was filled and, after so many milliseconds, still has no summary. */
export async function summaryFaults(heads: () => Promise<Head[]>, ms: number): Promise<string[]> {
  let behind: Head[] = []
  await comesTrue(async () => {
    behind = (await heads()).filter((head) => head.summaryCoversSeq < filled(head))
    return behind.length === 0
  }, ms)
  return behind.map((head) => `${head.id}: summarized up to ${head.summaryCoversSeq} of ${filled(head)}`)
}
