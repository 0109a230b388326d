import { setTimeout as delay } from 'node:timers/promises'
import { Ajv2020, type AnySchema, type ValidateFunction } from 'ajv/dist/2020.js'
import formats from 'ajv-formats'

/** The parts of an OpenAPI document that checks are made from. */
export interface Media {
  schema?: AnySchema
  example?: unknown
  examples?: Record<string, { value: unknown }>
}
export interface ApiOperation {
  operationId: string
  security: object[]
  parameters?: { name: string; in: string; required?: boolean; schema: Record<string, unknown> }[]
  requestBody?: { content: Record<string, Media> }
  responses: Record<string, { description: string; content?: Record<string, Media> }>
}
export interface ApiDocument {
  openapi: string
  paths: Record<string, Record<string, ApiOperation>>
  components: { schemas: Record<string, AnySchema> }
}

/** A busy machine's answer says nothing about a request; one that makes the api busy does so every time. */
const OVERLOADED_TURNS = 10

export interface RestAnswer<T = Record<string, unknown>> {
  status: number
  headers: Headers
  body: T
  text: string
  /** A problem's code. */
  code: string | undefined
}

export interface RestRequest {
  token?: string | undefined
  body?: unknown
  headers?: Record<string, string>
}

/** What an answer broke of the document, as an error that says so. */
export class ContractBreach extends Error {
  override readonly name = 'ContractBreach'
}

const pathPattern = (path: string): RegExp =>
  new RegExp(`^${path.replace(/[.]/g, '\\.').replace(/\{[^}]+\}/g, '[^/]+')}$`)

export type Rest = Awaited<ReturnType<typeof createRest>>

/**
 * REST calls whose every answer is held against the OpenAPI document that the server itself gives out: the status is
 * documented, the body fits its schema, errors are problems with the answer's request id.
 */
export async function createRest(baseUrl: string) {
  const document = (await (await fetch(`${baseUrl}/openapi.json`)).json()) as ApiDocument
  const ajv = new Ajv2020({ strict: false, allErrors: true })
  formats.default(ajv)
  ajv.addSchema({ $id: 'api', components: document.components })
  const compiled = new Map<string, ValidateFunction>()

  /** A schema of the document, its references resolved. */
  function validator(schema: AnySchema): ValidateFunction {
    const text = JSON.stringify(schema).replaceAll('"#/components', '"api#/components')
    let validate = compiled.get(text)
    if (!validate) {
      validate = ajv.compile(JSON.parse(text))
      compiled.set(text, validate)
    }
    return validate
  }

  const routes = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({
      path,
      method: method.toUpperCase(),
      pattern: pathPattern(path),
      operation,
    })),
  )
  // A literal path comes before one with a parameter in its place.
  routes.sort((a, b) => a.path.split('{').length - b.path.split('{').length)
  const routeOf = (method: string, path: string) => {
    const pathname = path.split('?')[0] ?? path
    return routes.find((route) => route.method === method && route.pattern.test(pathname))
  }

  function check(method: string, path: string, answer: RestAnswer): void {
    const { status, headers, body, text } = answer
    const breach = (what: string) =>
      new ContractBreach(`${method} ${path.slice(0, 200)} → ${status}: ${what}\n${text.slice(0, 500)}`)
    if (!headers.get('x-request-id')) throw breach('no X-Request-Id')
    const type = headers.get('content-type')?.split(';')[0] ?? ''
    if (status >= 400) {
      if (method !== 'HEAD') {
        if (type !== 'application/problem+json') throw breach(`an error of type ${type}`)
        if (!validator({ $ref: '#/components/schemas/Problem' })(body)) throw breach('not a problem')
        if (body.status !== status) throw breach('another status in the body')
        if (body.requestId !== headers.get('x-request-id')) throw breach('another request id in the body')
      }
      if ((status === 429 || status === 503) && !headers.get('retry-after')) throw breach('no Retry-After')
      if (status === 405 && !headers.get('allow')) throw breach('no Allow')
    }
    const operation = routeOf(method, path)?.operation
    if (!operation) {
      // 400: a path that is no path.
      if (status !== 404 && status !== 405 && status !== 400) throw breach('an answer on no documented path')
      return
    }
    const documented = operation.responses[String(status)]
    if (!documented) throw breach('an undocumented status')
    const media = documented.content?.[type]
    if (documented.content && !media) throw breach(`an undocumented type ${type}`)
    if (media?.schema) {
      const validate = validator(media.schema)
      if (!validate(body))
        throw breach(`a body that is not as documented: ${ajv.errorsText(validate.errors)}`)
    } else if (status === 204 && text !== '') throw breach('a body after 204')
  }

  async function call<T = Record<string, unknown>>(
    method: string,
    path: string,
    { token, body, headers = {} }: RestRequest = {},
  ): Promise<RestAnswer<T>> {
    const response = await fetch(`${baseUrl}${path}`, {
      method,
      headers: {
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    })
    const text = await response.text()
    const type = response.headers.get('content-type') ?? ''
    const parsed = type.includes('json') && text !== '' ? JSON.parse(text) : {}
    const code = response.status >= 400 && typeof parsed.code === 'string' ? parsed.code : undefined
    const answer: RestAnswer<T> = {
      status: response.status,
      headers: response.headers,
      body: parsed,
      text,
      code,
    }
    check(method, path, { ...answer, body: parsed })
    return answer
  }

  /** A call that is made again, a second apart and up to ten times, while the api says that it is overloaded. */
  async function patiently<T = Record<string, unknown>>(
    method: string,
    path: string,
    request: RestRequest = {},
  ): Promise<RestAnswer<T>> {
    for (let turn = 0; ; turn++) {
      const answer = await call<T>(method, path, request)
      if (answer.code !== 'overloaded' || turn === OVERLOADED_TURNS) return answer
      await delay(1_000)
    }
  }

  /** A call that has to work. */
  async function must<T = Record<string, unknown>>(
    method: string,
    path: string,
    request: RestRequest = {},
  ): Promise<T> {
    const answer = await patiently<T>(method, path, request)
    if (answer.status >= 400) throw new Error(`${method} ${path} → ${answer.status} ${answer.text}`)
    return answer.body
  }

  return { call, patiently, must, document, routes, validator, baseUrl }
}
