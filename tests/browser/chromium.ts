import { writeFile } from 'node:fs/promises'
import { throwAwayFolder } from '@parley/devstack'
import { inflate } from '@sparticuz/chromium'
import { type Browser, chromium } from 'playwright-core'

const given = process.env.CHROME_PATH

/** Whether a browser is at hand: `CHROME_PATH` names one, or the npm package carries one for this kind of machine. */
export const hasChromium = given !== undefined || (process.platform === 'linux' && process.arch === 'x64')

/** A headless Chromium, for which all hosts of `.example` are this machine. */
export async function launchChromium(): Promise<{ browser: Browser; close(): Promise<void> }> {
  const folder = await throwAwayFolder()
  const browser = await chromium.launch({
    ...(given === undefined ? await unpack(folder.path) : { executablePath: given }),
    // Root, as in most containers, may not use Chromium's sandbox; it shows nothing but pages of the tests.
    args: ['--no-sandbox', '--no-proxy-server', '--host-resolver-rules=MAP *.example 127.0.0.1'],
  })
  return {
    browser,
    async close() {
      await browser.close()
      await folder.remove()
    },
  }
}

/** Unpacks the npm package's Chromium into a folder, and the libraries and fonts that a bare Linux may lack. */
async function unpack(folder: string) {
  const archive = (name: string) =>
    new URL(`../bin/${name}`, import.meta.resolve('@sparticuz/chromium')).pathname
  const { TMPDIR, LD_LIBRARY_PATH = '' } = process.env
  // Where the package unpacks.
  process.env.TMPDIR = folder
  try {
    const [executablePath = ''] = await Promise.all(
      ['chromium.br', 'al2023.tar.br', 'fonts.tar.br'].map((name) => inflate(archive(name))),
    )
    // The package's own list looks for fonts in folders of its own choice only.
    const fonts = `<dir>${folder}/fonts</dir><cachedir>${folder}/fonts-cache</cachedir>`
    await writeFile(`${folder}/fonts/fonts.conf`, `<fontconfig>${fonts}</fontconfig>`)
    const libraries = `${folder}/al2023/lib:${LD_LIBRARY_PATH}`
    const env = { ...process.env, LD_LIBRARY_PATH: libraries, FONTCONFIG_PATH: `${folder}/fonts` }
    return { executablePath, env }
  } finally {
    if (TMPDIR === undefined) delete process.env.TMPDIR
    else process.env.TMPDIR = TMPDIR
  }
}
