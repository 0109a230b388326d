import { describe, expect, it } from 'vitest'
import { type ClaimConfig, type Claims, callerOf, claim, isForUs } from './claims.ts'

const plain: ClaimConfig = { JWT_AUDIENCE: [], JWT_AUTHORIZED_PARTIES: [], JWT_ROLE_ADMIN: 'admin' }

interface Sample {
  config: Partial<ClaimConfig>
  claims: Claims
  caller: { type: string; id: string; orgId: string; roles: string[]; name: string | null }
}

/** Payloads as real issuers make them. */
const samples: Record<string, Sample> = {
  plain: {
    config: {},
    claims: {
      sub: 'ada',
      orgId: 'acme',
      type: 'agent',
      roles: ['member', 'admin', 'billing'],
      name: 'Ada',
      exp: 1,
    },
    caller: { type: 'agent', id: 'ada', orgId: 'acme', roles: ['member', 'admin'], name: 'Ada' },
  },
  Auth0: {
    config: {
      JWT_CLAIM_ORG: 'org_id',
      JWT_CLAIM_ROLES: 'https://parley.example/roles',
      JWT_ROLE_ADMIN: 'Chat Admin',
    },
    claims: {
      iss: 'https://acme.eu.auth0.com/',
      sub: 'auth0|507f1f77bcf86cd799439020',
      aud: ['https://api.acme.example', 'https://acme.eu.auth0.com/userinfo'],
      iat: 1_730_000_000,
      exp: 1_730_086_400,
      azp: 'my_client_id',
      scope: 'openid profile',
      org_id: 'org_9ybsU1dN2dKfDkBi',
      'https://parley.example/roles': ['Chat Admin', 'Editor'],
      permissions: ['read:chat'],
    },
    caller: {
      type: 'user',
      id: 'auth0|507f1f77bcf86cd799439020',
      orgId: 'org_9ybsU1dN2dKfDkBi',
      roles: ['admin'],
      name: null,
    },
  },
  Clerk: {
    config: { JWT_CLAIM_ORG: 'o.id', JWT_CLAIM_ROLES: 'o.rol' },
    claims: {
      azp: 'https://app.acme.example',
      exp: 1_730_000_060,
      fva: [3, -1],
      iat: 1_730_000_000,
      iss: 'https://clerk.acme.example',
      jti: 'b2d1a9c4',
      nbf: 1_729_999_990,
      o: { id: 'org_2abc', rol: 'admin', slg: 'acme', per: 'read,manage', fpm: '3' },
      sid: 'sess_2def',
      sub: 'user_2ghi',
      sts: 'active',
      v: 2,
    },
    caller: { type: 'user', id: 'user_2ghi', orgId: 'org_2abc', roles: ['admin'], name: null },
  },
  Keycloak: {
    config: {
      JWT_CLAIM_ORG: 'organization',
      JWT_CLAIM_TYPE: 'resource_access.parley.roles',
      JWT_CLAIM_ROLES: 'realm_access.roles',
      JWT_ROLE_ADMIN: 'chat-admin',
    },
    claims: {
      exp: 1_730_000_300,
      iat: 1_730_000_000,
      jti: '8f0e7d2c',
      iss: 'https://sso.acme.example/realms/acme',
      aud: 'account',
      sub: '1a2b3c4d-0000-4000-8000-5e6f70819293',
      typ: 'Bearer',
      azp: 'parley-web',
      realm_access: { roles: ['default-roles-acme', 'offline_access', 'member', 'admin'] },
      resource_access: { parley: { roles: ['agent'] }, account: { roles: ['view-profile'] } },
      organization: ['acme'],
      name: 'Summary Bot',
      preferred_username: 'summary-bot',
    },
    caller: {
      type: 'agent',
      id: '1a2b3c4d-0000-4000-8000-5e6f70819293',
      orgId: 'acme',
      roles: ['member'],
      name: 'Summary Bot',
    },
  },
}

describe('claims of real issuers', () => {
  it.each(Object.entries(samples))('%s', (_name, { config, claims, caller }) => {
    expect(callerOf(claims, { ...plain, ...config })).toEqual({ ...caller, picture: null })
  })
})

describe('claims', () => {
  const base = { sub: 'ada', orgId: 'acme' }
  const of = (claims: Claims, config: Partial<ClaimConfig> = {}) => callerOf(claims, { ...plain, ...config })

  it('are tried as a literal name before a path, own properties only', () => {
    expect(claim({ 'a.b': 1, a: { b: 2 } }, 'a.b')).toBe(1)
    expect(claim({ a: { b: 2 } }, 'a.b')).toBe(2)
    expect(claim({ a: { b: 2 } }, 'a.b.c')).toBeUndefined()
    expect(claim({}, 'constructor.name')).toBeUndefined()
    expect(claim({}, '__proto__')).toBeUndefined()
    expect(claim({ a: 'text' }, 'a.length')).toBeUndefined()
  })

  it('without an org fall back to the default, if there is one', () => {
    expect(of({ sub: 'ada' })).toBeNull()
    expect(of({ sub: 'ada' }, { JWT_DEFAULT_ORG: 'home' })?.orgId).toBe('home')
    expect(of({ ...base, orgId: '' }, { JWT_DEFAULT_ORG: 'home' })).toBeNull()
    expect(of({ ...base, orgId: 7 }, { JWT_DEFAULT_ORG: 'home' })).toBeNull()
  })

  it('with more than one org are refused', () => {
    const orgOf = (orgId: string[]) => callerOf({ sub: 'ada', orgId }, plain)?.orgId
    expect([['acme'], ['acme', 'other']].map(orgOf)).toEqual(['acme', undefined])
  })

  it('may come from a clock that is five seconds ahead', () => {
    expect([5, 6].map((ahead) => isForUs({ nbf: 1_000 + ahead }, plain, 1_000))).toEqual([true, false])
  })

  it('give the admin role by its configured name only', () => {
    expect(of({ ...base, roles: 'admin' })?.roles).toEqual(['admin'])
    expect(of({ ...base, roles: ['admin'] }, { JWT_ROLE_ADMIN: 'boss' })?.roles).toEqual([])
    expect(of({ ...base, roles: ['boss'] }, { JWT_ROLE_ADMIN: 'boss' })?.roles).toEqual(['admin'])
    expect(of({ ...base, roles: { admin: true } })?.roles).toEqual([])
  })

  it('of an unknown type are refused', () => {
    for (const type of ['service', 'User', '', 1, true, {}]) expect(of({ ...base, type })).toBeNull()
    expect(of({ ...base, type: 'agent' })?.type).toBe('agent')
    expect(of(base)?.type).toBe('user')
  })

  it('keep a name short and a picture that is a web address', () => {
    expect(of({ ...base, name: ` ${'x'.repeat(300)}` })?.name).toBe('x'.repeat(199))
    expect(of({ ...base, name: '\ud800' })?.name).toBeNull()
    expect(of({ ...base, name: { first: 'Ada' } })?.name).toBeNull()
    expect(of({ ...base, picture: 'https://img.test/a.png' })?.picture).toBe('https://img.test/a.png')
    for (const picture of ['javascript:alert(1)', 'http://img.test/a.png', 'data:image/png;base64,xx', 'x']) {
      expect(of({ ...base, picture })?.picture).toBeNull()
    }
  })
})
