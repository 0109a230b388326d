import { PROBLEMS } from '@parley/contract'

const row = ([code, { status, title, retryable }]: [string, (typeof PROBLEMS)[keyof typeof PROBLEMS]]) =>
  `<tr id="${code}"><td><code>${code}</code></td><td>${status}</td><td>${title}</td><td>${retryable ? 'yes' : 'no'}</td></tr>`

/** The page that a problem's `type` links to: what its code means, and whether to try again. */
export const PROBLEMS_PAGE = `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Parley: problems</title>
<style>body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}
td,th{padding:.3rem 1rem .3rem 0;text-align:left}:target{background:#ffd}</style></head>
<body><h1>Problems</h1>
<p>Every error is a problem (RFC 9457) with one of these codes.</p>
<table><thead><tr><th>Code</th><th>Status</th><th>Meaning</th><th>May succeed later</th></tr></thead>
<tbody>${Object.entries(PROBLEMS).map(row).join('\n')}</tbody></table></body></html>
`
