import type { OpenAPI } from 'openapi-types'

export const describe = (document: OpenAPI.Document): OpenAPI.Document => document
