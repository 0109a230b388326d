import * as t from 'gpt-tokenizer/encoding/o200k_base'

console.log(Object.keys(t))
for (const [n, x] of [
  ['a', 'a'.repeat(65000)],
  ['rand', Array.from({ length: 65000 }, () => String.fromCharCode(97 + Math.random() * 26)).join('')],
  ['text', 'the quick brown fox jumps over a lazy dog. '.repeat(1500)],
  ['zh', '我们决定在三月三日发货'.repeat(2000)],
  ['sp', ' '.repeat(65000)],
  ['punct', '!'.repeat(65000)],
  ['special', '<|endoftext|>'],
]) {
  const s = performance.now()
  let c
  try {
    c = t.countTokens(x, { disallowedSpecial: new Set() })
  } catch (e) {
    c = e.message
  }
  console.log(n, c, (performance.now() - s).toFixed(1))
}
