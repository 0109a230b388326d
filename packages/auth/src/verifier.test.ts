import { createHmac, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { ProblemError } from '@parley/contract'
import { createSigner } from 'fast-jwt'
import { describe, expect, it, onTestFinished } from 'vitest'
import { createRevocationList } from './revocations.ts'
import { createServiceVerifier, signServiceToken } from './service-tokens.ts'
import { signUserToken } from './user-tokens.ts'
import { createVerifier, type JwtConfig, type VerifiedToken } from './verifier.ts'

const SECRET = 'a secret of more than thirty-two bytes, for tests'
const rules = { JWT_AUDIENCE: [], JWT_AUTHORIZED_PARTIES: [], JWT_ROLE_ADMIN: 'admin' }
const ada = { sub: 'ada', orgId: 'acme' }
const seconds = () => Math.floor(Date.now() / 1_000)

const verifierOf = (config: Partial<JwtConfig> = { JWT_SECRET: SECRET }, now: () => number = Date.now) => {
  const revocations = createRevocationList()
  const verifier = createVerifier({ ...rules, ...config }, { revocations, now, keyCooldownMs: 0 })
  return { verifier, revocations }
}

/** What a refused token is answered with. */
async function refusal(attempt: () => VerifiedToken | Promise<VerifiedToken>): Promise<string> {
  try {
    await attempt()
  } catch (error) {
    if (error instanceof ProblemError) return `${error.code}: ${error.message}`
    throw error
  }
  return 'accepted'
}

const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
const forge = (header: unknown, claims: unknown, key: string) => {
  const input = `${encode(header)}.${encode(claims)}`
  return `${input}.${createHmac('sha256', key).update(input).digest('base64url')}`
}

const ALIKE = 'unauthenticated: A valid token is required'

describe('HS256 with a shared secret', () => {
  it('accepts a sound token, synchronously', () => {
    const { verifier } = verifierOf()
    const token = signUserToken(SECRET, { ...ada, roles: ['admin'], name: 'Ada' })
    for (const result of [verifier.verify(token), verifier.verify(token)]) {
      if (result instanceof Promise) throw new Error('must answer at once')
      expect(result.caller).toEqual({
        type: 'user',
        id: 'ada',
        orgId: 'acme',
        roles: ['admin'],
        name: 'Ada',
        picture: null,
      })
      expect(result.expiresAt - result.issuedAt).toBe(3_600)
    }
  })

  const good = { ...ada, iat: seconds(), exp: seconds() + 600 }
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const rs256 = createSigner({
    algorithm: 'RS256',
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  })(good)
  const sound = signUserToken(SECRET, ada)
  const [head = '', body = '', signature = ''] = sound.split('.')
  const attacks: Record<string, string> = {
    'no signature, alg none': `${encode({ alg: 'none', typ: 'JWT' })}.${encode(good)}.`,
    'alg None in another case': `${encode({ alg: 'NoNe' })}.${encode(good)}.`,
    'signature cut off': `${head}.${body}.`,
    'signature of another body': `${head}.${encode({ ...good, sub: 'eve' })}.${signature}`,
    'another key': forge({ alg: 'HS256' }, good, 'another secret of more than thirty-two bytes'),
    'HS384 with the right key': createSigner({ algorithm: 'HS384', key: SECRET })(good),
    'RS256 against a secret': rs256,
    'the public key as HMAC secret': forge(
      { alg: 'HS256' },
      good,
      publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    ),
    'kid that is a path': forge({ alg: 'HS256', kid: '../../../../dev/null' }, good, ''),
    'kid that is SQL': forge({ alg: 'HS256', kid: "' UNION SELECT 'x" }, good, 'x'),
    'own key in the header': forge(
      { alg: 'HS256', jwk: { kty: 'oct', k: Buffer.from('x').toString('base64url') } },
      good,
      'x',
    ),
    'unknown critical extension': forge({ alg: 'HS256', crit: ['exp'] }, good, SECRET),
    'service type': forge({ alg: 'HS256' }, { ...good, type: 'service' }, SECRET),
    'type that is an object': forge({ alg: 'HS256' }, { ...good, type: { $ne: null } }, SECRET),
    'no exp': forge({ alg: 'HS256' }, { ...ada }, SECRET),
    'exp that is text': forge({ alg: 'HS256' }, { ...good, exp: '9999999999' }, SECRET),
    'iat that is text': forge({ alg: 'HS256' }, { ...good, iat: 'now' }, SECRET),
    'not yet valid': forge({ alg: 'HS256' }, { ...good, nbf: seconds() + 60 }, SECRET),
    'no sub': forge({ alg: 'HS256' }, { orgId: 'acme', exp: good.exp }, SECRET),
    'sub that is an object': forge({ alg: 'HS256' }, { ...good, sub: { $gt: '' } }, SECRET),
    'control characters in sub': forge({ alg: 'HS256' }, { ...good, sub: 'a\0b' }, SECRET),
    'no org': forge({ alg: 'HS256' }, { sub: 'ada', exp: good.exp }, SECRET),
    'two orgs': forge({ alg: 'HS256' }, { ...good, orgId: ['acme', 'other'] }, SECRET),
    'body that is a list': forge({ alg: 'HS256' }, [good], SECRET),
    'body that is text': forge({ alg: 'HS256' }, 'ada', SECRET),
    huge: forge({ alg: 'HS256' }, { ...good, padding: 'x'.repeat(20_000) }, SECRET),
    'four parts': `${sound}.x`,
    'not base64': `${head}.{"sub":"ada"}.${signature}`,
    empty: '',
    words: 'let me in',
    'a service token': signServiceToken('a service secret of more than thirty-two bytes', 'gateway'),
    'a service token under the users’ key': signServiceToken(SECRET, 'gateway'),
  }
  it.each(Object.entries(attacks))('refuses, like all others: %s', async (_name, token) => {
    const { verifier } = verifierOf()
    expect(await refusal(() => verifier.verify(token))).toBe(ALIKE)
    expect(await refusal(() => verifier.verify(sound))).toBe('accepted')
  })

  it('reports a sound token as expired, to the second, cached or not', async () => {
    let now = Date.now()
    const { verifier } = verifierOf({ JWT_SECRET: SECRET }, () => now)
    const exp = Math.floor(now / 1_000) + 10
    const token = forge({ alg: 'HS256' }, { ...ada, exp }, SECRET)
    const other = forge({ alg: 'HS256' }, { ...ada, exp, name: 'Ada' }, SECRET)
    now = exp * 1_000 - 1
    expect(await refusal(() => verifier.verify(token))).toBe('accepted')
    now = exp * 1_000
    expect(await refusal(() => verifier.verify(token))).toMatch(/^token_expired/)
    expect(await refusal(() => verifier.verify(other))).toMatch(/^token_expired/)
  })

  it('says of a token without an end in sight when it ends, as a timestamp can say it', async () => {
    const { verifier } = verifierOf()
    for (const exp of [253_402_300_799, 253_402_300_800, Number.MAX_SAFE_INTEGER]) {
      const { expiresAt } = await verifier.verify(forge({ alg: 'HS256' }, { ...ada, exp }, SECRET))
      expect(new Date(expiresAt * 1_000).toISOString()).toBe('9999-12-31T23:59:59.000Z')
    }
  })

  it('does not call a forged token expired', async () => {
    const { verifier } = verifierOf()
    const token = forge({ alg: 'HS256' }, { ...ada, exp: 1 }, 'x'.repeat(40))
    expect(await refusal(() => verifier.verify(token))).toBe(ALIKE)
  })

  it('ends tokens issued until the revocation, cached ones too, and nobody else’s', async () => {
    const { verifier, revocations } = verifierOf()
    const now = seconds()
    const issued = (iat: number | undefined, claims: object = ada) =>
      forge({ alg: 'HS256' }, { ...claims, ...(iat === undefined ? {} : { iat }), exp: now + 600 }, SECRET)
    const old = issued(now - 1)
    expect(await refusal(() => verifier.verify(old))).toBe('accepted')
    revocations.add({ orgId: 'acme', type: 'user', id: 'ada', before: now })
    expect(await refusal(() => verifier.verify(old))).toBe(ALIKE)
    expect(await refusal(() => verifier.verify(issued(now)))).toBe(ALIKE)
    expect(await refusal(() => verifier.verify(issued(undefined)))).toBe(ALIKE)
    expect(await refusal(() => verifier.verify(issued(now + 1)))).toBe('accepted')
    for (const other of [{ orgId: 'b' }, { sub: 'bob' }, { type: 'agent' }]) {
      expect(await refusal(() => verifier.verify(issued(now - 1, { ...ada, ...other })))).toBe('accepted')
    }
    revocations.add({ orgId: 'acme', type: 'user', id: 'ada', before: now - 60 })
    expect(await refusal(() => verifier.verify(old))).toBe(ALIKE)
  })

  it('checks issuer, audience and authorized party if configured', async () => {
    const { verifier } = verifierOf({
      JWT_SECRET: SECRET,
      JWT_ISSUER: 'https://issuer.test',
      JWT_AUDIENCE: ['parley', 'chat'],
      JWT_AUTHORIZED_PARTIES: ['https://app.test'],
    })
    const right = { ...ada, iss: 'https://issuer.test', aud: 'chat', azp: 'https://app.test' }
    const check = (claims: Record<string, unknown>) =>
      refusal(() => verifier.verify(forge({ alg: 'HS256' }, { exp: seconds() + 60, ...claims }, SECRET)))
    expect(await check(right)).toBe('accepted')
    expect(await check({ ...right, aud: ['else', 'parley'] })).toBe('accepted')
    for (const wrong of [
      { ...right, iss: 'https://issuer.test/' },
      { ...right, iss: ['https://issuer.test'] },
      { ...right, iss: undefined },
      { ...right, aud: 'other' },
      { ...right, aud: undefined },
      { ...right, aud: { parley: true } },
      { ...right, azp: 'https://evil.test' },
      { ...right, azp: undefined },
    ]) {
      expect(await check(wrong)).toBe(ALIKE)
    }
  })
})

const pem = (key: KeyObject) => key.export({ type: 'spki', format: 'pem' }).toString()
const privatePem = (key: KeyObject) => key.export({ type: 'pkcs8', format: 'pem' }).toString()

describe('a public key', () => {
  const pairs = {
    RS256: generateKeyPairSync('rsa', { modulusLength: 2048 }),
    ES256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
    EdDSA: generateKeyPairSync('ed25519'),
  } as const
  it.each(['RS256', 'ES256', 'EdDSA'] as const)(
    '%s verifies, and its public half signs nothing',
    async (alg) => {
      const { publicKey, privateKey } = pairs[alg]
      const { verifier } = verifierOf({ JWT_PUBLIC_KEY: pem(publicKey) })
      const claims = { ...ada, exp: seconds() + 60 }
      const token = createSigner({ algorithm: alg, key: privatePem(privateKey) })(claims)
      expect(await refusal(() => verifier.verify(token))).toBe('accepted')
      for (const key of [pem(publicKey), pem(publicKey).trim(), SECRET]) {
        expect(await refusal(() => verifier.verify(forge({ alg: 'HS256' }, claims, key)))).toBe(ALIKE)
        expect(await refusal(() => verifier.verify(forge({ alg }, claims, key)))).toBe(ALIKE)
      }
      const none = `${encode({ alg: 'none' })}.${encode(claims)}.`
      expect(await refusal(() => verifier.verify(none))).toBe(ALIKE)
    },
  )
})

describe('a JWKS', () => {
  async function keyServer() {
    const keys = new Map<string, KeyObject>()
    let fetched = 0
    let broken = false
    const server = createServer((_request, response) => {
      fetched++
      if (broken) {
        response.writeHead(500).end()
        return
      }
      const jwks = [...keys].map(([kid, publicKey]) => ({
        ...publicKey.export({ format: 'jwk' }),
        kid,
        use: 'sig',
      }))
      response.end(JSON.stringify({ keys: jwks }))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => {
      server.closeAllConnections()
      server.close()
    })
    return {
      url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`,
      keys,
      fetched: () => fetched,
      break: () => {
        broken = true
      },
    }
  }
  const ec = () => generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const sign = (
    kid: string,
    { privateKey }: { privateKey: KeyObject },
    claims: Record<string, unknown> = {},
  ) =>
    createSigner({ algorithm: 'ES256', key: privatePem(privateKey), kid })({
      ...ada,
      exp: seconds() + 60,
      ...claims,
    })

  it('verifies, fetching the keys once, and answers a known token at once', async () => {
    const server = await keyServer()
    const one = ec()
    server.keys.set('one', one.publicKey)
    const { verifier } = verifierOf({ JWT_JWKS_URL: server.url })
    const token = sign('one', one)
    expect(await refusal(() => verifier.verify(token))).toBe('accepted')
    expect(verifier.verify(token)).not.toBeInstanceOf(Promise)
    expect(await refusal(() => verifier.verify(sign('one', one, { name: 'Ada' })))).toBe('accepted')
    expect(server.fetched()).toBe(1)
  })

  it('finds a new key when the issuer rotates, and lets go of the old one', async () => {
    const server = await keyServer()
    const one = ec()
    const two = ec()
    server.keys.set('one', one.publicKey)
    let now = Date.now()
    const { verifier } = verifierOf({ JWT_JWKS_URL: server.url }, () => now)
    const old = sign('one', one, { exp: seconds() + 3_600 })
    expect(await refusal(() => verifier.verify(old))).toBe('accepted')
    server.keys.clear()
    server.keys.set('two', two.publicKey)
    expect(await refusal(() => verifier.verify(sign('two', two)))).toBe('accepted')
    expect(await refusal(() => verifier.verify(old))).toBe('accepted')
    now += 301_000
    expect(await refusal(() => verifier.verify(old))).toBe(ALIKE)
  })

  it('refuses unknown keys, secrets made of public keys, and keys that the token brings along', async () => {
    const server = await keyServer()
    const one = ec()
    const evil = ec()
    server.keys.set('one', one.publicKey)
    const { verifier } = verifierOf({ JWT_JWKS_URL: server.url })
    const claims = { ...ada, exp: seconds() + 60 }
    const withJwk = createSigner({
      algorithm: 'ES256',
      key: privatePem(evil.privateKey),
      kid: 'one',
      header: { alg: 'ES256', jku: 'http://127.0.0.1:9/jwks' },
    })(claims)
    for (const token of [
      sign('two', evil),
      sign('one', evil),
      withJwk,
      forge({ alg: 'HS256', kid: 'one' }, claims, pem(one.publicKey)),
      `${encode({ alg: 'none', kid: 'one' })}.${encode(claims)}.`,
      sign('../one', one),
    ]) {
      expect(await refusal(() => verifier.verify(token))).toBe(ALIKE)
    }
  })

  it('says unavailable, not unauthenticated, if the keys cannot be fetched', async () => {
    const server = await keyServer()
    const one = ec()
    server.break()
    const { verifier } = verifierOf({ JWT_JWKS_URL: server.url })
    expect(await refusal(() => verifier.verify(sign('one', one)))).toMatch(/^unavailable/)
    const away = verifierOf({ JWT_JWKS_URL: 'http://127.0.0.1:1/jwks' })
    expect(await refusal(() => away.verifier.verify(sign('one', one)))).toMatch(/^unavailable/)
  })
})

describe('service tokens', () => {
  const secret = 'a service secret of more than thirty-two bytes'
  it('prove a service, and nothing else does', () => {
    const { verify } = createServiceVerifier(secret)
    expect(verify(signServiceToken(secret, 'gateway'))).toBe('gateway')
    const exp = seconds() + 60
    for (const token of [
      signServiceToken(SECRET, 'gateway'),
      signUserToken(secret, ada),
      forge({ alg: 'HS256' }, { iss: 'else', sub: 'gateway', type: 'service', exp }, secret),
      forge({ alg: 'HS256' }, { iss: 'parley', sub: 'gateway', type: 'service' }, secret),
      forge({ alg: 'HS256' }, { iss: 'parley', sub: 'gateway', type: 'service', exp: 1 }, secret),
      `${encode({ alg: 'none' })}.${encode({ iss: 'parley', sub: 'gateway', type: 'service', exp })}.`,
      '',
    ]) {
      expect(() => verify(token)).toThrow('A valid token is required')
    }
  })
})
