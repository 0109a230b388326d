import { throwAwayFolder } from '@parley/devstack'
import { inflate } from '@sparticuz/chromium'
import { type Browser, chromium } from 'playwright-core'

/** Whether a browser is at hand: the package carries one for this kind of machine, or `CHROME_PATH` names one. */
export const hasChromium =
  process.env.CHROME_PATH !== undefined || (process.platform === 'linux' && process.arch === 'x64')

/**
 * A headless Chromium, for which all hosts of `.example` are this machine: the one that `CHROME_PATH` names, or the one in the npm package, with the few libraries that a
 * bare Linux may lack.
 */
export async function launchChromium(): Promise<{ browser: Browser; close(): Promise<void> }> {
  const folder = await throwAwayFolder()
  const program = process.env.CHROME_PATH ?? (await unpack(folder.path))
  const browser = await chromium.launch({
    executablePath: program,
    // Root, as in most containers, may not use Chromium's sandbox; it shows nothing but pages of the tests.
    args: ['--no-sandbox', '--no-proxy-server', '--host-resolver-rules=MAP *.example 127.0.0.1'],
    env: {
      ...process.env,
      LD_LIBRARY_PATH: [`${folder.path}/al2023/lib`, process.env.LD_LIBRARY_PATH ?? ''].join(':'),
      FONTCONFIG_PATH: `${folder.path}/fonts`,
    },
  })
  return {
    browser,
    async close() {
      await browser.close()
      await folder.remove()
    },
  }
}

/** Unpacks the package's archives into a folder; returns the path of the program. */
async function unpack(folder: string): Promise<string> {
  const archive = (name: string) =>
    new URL(`../bin/${name}`, import.meta.resolve('@sparticuz/chromium')).pathname
  const { TMPDIR } = process.env
  // Where the package unpacks.
  process.env.TMPDIR = folder
  try {
    const [program] = await Promise.all(
      ['chromium.br', 'al2023.tar.br', 'fonts.tar.br'].map((name) => inflate(archive(name))),
    )
    if (!program) throw new Error('Chromium was not unpacked')
    return program
  } finally {
    if (TMPDIR === undefined) delete process.env.TMPDIR
    else process.env.TMPDIR = TMPDIR
  }
}
