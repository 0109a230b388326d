import { readFileSync } from 'node:fs'

/** Text of a script in `services/gateway/lua/`; the folder lies beside both `src` and `dist`. */
export const lua = (name: string): string =>
  readFileSync(new URL(`../../lua/${name}.lua`, import.meta.url), 'utf8')
