import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { messageOf, StackError } from '../errors.ts'

export const usage = `npm start -- [options]
  --api-port N       port of the api (3000)
  --gateway-port N   port of the first gateway (3003); the next ones follow it
  --gateways N       number of gateways, 1 to 32 (1; 2 with --demo)
  --data-dir DIR     where data is kept (.parley)
  --ephemeral        keep nothing
  --demo             play a dialogue through it, then end
  --json             one line of JSON on stdout when ready, all else on stderr
  --help             this`

export type StartOptions = {
  apiPort: number
  gatewayPort: number
  gateways: number
  /** Absent: nothing is kept. */
  dataDir?: string
  json: boolean
  demo: boolean
  help: boolean
}

/** @throws StackError with one sentence for an option that is unknown or makes no sense */
export function readOptions(args: string[], defaultDataDir: string): StartOptions {
  const values = parse(args)
  const { ephemeral = false, demo = false, json = false, help = false } = values
  if (ephemeral && values['data-dir'] !== undefined) {
    throw new StackError('--ephemeral keeps nothing, --data-dir says where to keep it: give one of them.')
  }
  return {
    apiPort: whole(values['api-port'], '--api-port', 3000, 65_535),
    gatewayPort: whole(values['gateway-port'], '--gateway-port', 3003, 65_535),
    gateways: whole(values.gateways, '--gateways', demo ? 2 : 1, 32),
    ...(!ephemeral && { dataDir: resolve(values['data-dir'] ?? defaultDataDir) }),
    json,
    demo,
    help,
  }
}

function parse(args: string[]) {
  try {
    return parseArgs({
      args,
      options: {
        'api-port': { type: 'string' },
        'gateway-port': { type: 'string' },
        gateways: { type: 'string' },
        'data-dir': { type: 'string' },
        ephemeral: { type: 'boolean' },
        json: { type: 'boolean' },
        demo: { type: 'boolean' },
        help: { type: 'boolean' },
      },
    }).values
  } catch (error) {
    throw new StackError(`${messageOf(error)}\n${usage}`)
  }
}

function whole(text: string | undefined, option: string, fallback: number, max: number): number {
  if (text === undefined) return fallback
  const value = Number(text)
  if (/^\d+$/.test(text) && value >= 1 && value <= max) return value
  throw new StackError(`${option} takes a whole number from 1 to ${max}, not "${text}".`)
}
