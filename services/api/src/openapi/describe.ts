import { PROBLEMS, type ProblemCode, problem } from '@parley/contract'
import type { OpenAPI, OpenAPIV3_1 } from 'openapi-types'
import { OPERATIONS, type Operation } from './operations.ts'

type Responses = OpenAPIV3_1.ResponsesObject
type Described = OpenAPIV3_1.OperationObject

/** The finished document: methods by path, without path-wide settings. */
interface ApiDocument extends Omit<OpenAPIV3_1.Document, 'paths'> {
  paths: Record<string, Record<string, Described>>
}

const METHODS = ['get', 'post', 'put', 'delete'] as const
const OPEN = new Set<Operation['tag'] | string>(['System', 'createDevToken'])

const isDocument = (document: OpenAPI.Document): document is OpenAPIV3_1.Document =>
  'openapi' in document && document.openapi.startsWith('3.1')

/** What every call of a kind can be refused with, because of its token, path, query or body. */
function commonProblems(name: string, operation: Described, isOpen: boolean): ProblemCode[] {
  const parameters = (operation.parameters ?? []).filter((p) => 'in' in p)
  const has = (place: string, name?: string) =>
    parameters.some((p) => p.in === place && (name === undefined || p.name === name))
  const problems: ProblemCode[] = ['overloaded', 'unavailable', 'internal']
  if (!isOpen) {
    problems.push('unauthenticated', 'token_expired', 'rate_limited')
    // An unknown field of a query is refused on every call.
    problems.push('bad_request', 'validation_failed')
  }
  // A body may be sent where none is accepted.
  if (!name.startsWith('GET')) problems.push('bad_request', 'payload_too_large', 'unsupported_media_type')
  if (has('query', 'cursor')) problems.push('invalid_cursor')
  if (has('path') || name === 'POST /messages') problems.push('not_found')
  return problems
}

function problemResponses(codes: ProblemCode[], path: string): Responses {
  const byStatus = Map.groupBy([...new Set(codes)], (code) => PROBLEMS[code].status)
  return Object.fromEntries(
    [...byStatus].map(([status, alternatives]) => [
      String(status),
      {
        description: alternatives.map((code) => `\`${code}\`: ${PROBLEMS[code].title}`).join('. '),
        content: {
          'application/problem+json': {
            schema: { $ref: '#/components/schemas/Problem' },
            examples: Object.fromEntries(
              alternatives.map((code) => [code, { value: exampleOf(code, path) }]),
            ),
          },
        },
      },
    ]),
  )
}

function exampleOf(code: ProblemCode, path: string) {
  const errors = code === 'validation_failed' ? [{ pointer: '/title', detail: 'must be text' }] : undefined
  return problem(code, errors ? { errors } : {}).toProblem('0d6f3a52-9c1e-4b7a-8f3d-2a5c7e9b1d40', path)
}

function describeResponses(responses: Responses, answers: Operation['answers']): Responses {
  return Object.fromEntries(
    Object.entries(responses).map(([status, response]) => {
      const { description = '', example } = answers[Number(status)] ?? {}
      if (response === undefined || '$ref' in response) return [status, response]
      // Nothing follows a 204.
      if (status === '204') return [status, { description }]
      const content = Object.fromEntries(
        Object.entries(response.content ?? {}).map(([type, media]) => [
          type,
          example === undefined ? media : { ...media, example },
        ]),
      )
      return [status, { ...response, description, ...(response.content ? { content } : {}) }]
    }),
  )
}

/** A text schema that only ever holds a number is shown as a number. */
function plainParameters(parameters: Described['parameters']): Described['parameters'] {
  return parameters?.map((parameter) => {
    if ('$ref' in parameter || !parameter.schema || '$ref' in parameter.schema) return parameter
    const { pattern, ...schema } = parameter.schema
    return schema.type === 'integer' ? { ...parameter, schema } : parameter
  })
}

function describeOperation(name: string, path: string, operation: Described): Described {
  const known = OPERATIONS[name]
  if (!known) throw new Error(`${name} is missing in the table of operations`)
  const isOpen = OPEN.has(known.tag) || OPEN.has(known.id)
  const codes = [...commonProblems(name, operation, isOpen), ...(known.problems ?? [])]
  const described: Described = {
    ...operation,
    operationId: known.id,
    tags: [known.tag],
    summary: known.summary,
    security: isOpen ? [] : [{ token: [] }],
    responses: {
      ...describeResponses(operation.responses ?? {}, known.answers),
      ...problemResponses(codes, path),
    },
  }
  const parameters = plainParameters([...(operation.parameters ?? []), ...(known.headers ?? [])])
  if (parameters?.length) described.parameters = parameters
  const body = operation.requestBody
  if (body && !('$ref' in body) && known.request !== undefined) {
    const media = Object.entries(body.content).map(([type, content]) => [
      type,
      { ...content, example: known.request },
    ])
    described.requestBody = { ...body, content: Object.fromEntries(media) }
  }
  return described
}

/** Components that nothing refers to are left out: zod registers each schema for both directions. */
function prune(document: ApiDocument): ApiDocument {
  const all = document.components?.schemas ?? {}
  const used = new Set<string>()
  const visit = (value: unknown): void => {
    for (const [, name = ''] of JSON.stringify(value).matchAll(/"#\/components\/schemas\/([^"]+)"/g)) {
      if (used.has(name)) continue
      used.add(name)
      visit(all[name] ?? null)
    }
  }
  visit(document.paths)
  const schemas = Object.fromEntries(Object.entries(all).filter(([name]) => used.has(name)))
  return { ...document, components: { ...document.components, schemas } }
}

/** The document made from the routes, with descriptions, examples and refusals beside the schemas. */
export function describe(document: OpenAPI.Document): ApiDocument {
  if (!isDocument(document)) throw new Error('the document is not OpenAPI 3.1')
  const paths: ApiDocument['paths'] = {}
  for (const [path, item] of Object.entries(document.paths ?? {})) {
    const described: Record<string, Described> = {}
    for (const method of METHODS) {
      const operation = item?.[method]
      if (operation) {
        described[method] = describeOperation(`${method.toUpperCase()} ${path}`, path, operation)
      }
    }
    paths[path] = described
  }
  return prune({ ...document, paths })
}
