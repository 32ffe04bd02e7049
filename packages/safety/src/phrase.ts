/**
 * Compiles a phrase of normalised words to a pattern. `(a|b c)` are alternatives, `[a|b]` may be missing, `_` is one word and `{3}`
 * up to three words, none of them a negation. The pattern only matches whole words.
 */
export function phrase(source: string): RegExp {
  const body = source
    .trim()
    .replace(/\[([^\]]+)\] /g, '(?:(?:$1) )?')
    .replace(/ \[([^\]]+)\]/g, '(?: (?:$1))?')
    .replace(/(?<![^ (|?])_(?![^ )|])/g, '[^ ]+')
    .replace(/\{(\d+)\} /g, '(?:(?!(?:not|never|no(?! one)) )[^ ]+ ){0,$1}')
    .replace(/\((?!\?)/g, '(?:');
  return new RegExp(`(?<![^ ])(?:${body})(?![^ ])`, 'g');
}
