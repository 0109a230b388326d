import { writeFile } from 'node:fs/promises'
import { asyncApiDocument } from './document.ts'

/** Regenerates docs/asyncapi.json. A test fails when that is due. */
const path = new URL('../../../../docs/asyncapi.json', import.meta.url)
await writeFile(path, `${JSON.stringify(asyncApiDocument(), null, 2)}\n`)
