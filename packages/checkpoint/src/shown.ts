const LONGEST = 60;
const ITEMS = 8;

function shownItem(value: unknown): string {
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? '[…]' : '{…}';
  const text = (JSON.stringify(value) ?? 'nothing').replace(/\p{Cc}/gu, escaped);
  return text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
}

/** What JSON leaves as it is of the characters that a terminal obeys. */
function escaped(control: string): string {
  return `\\u${control.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

/**
 * A value from a file's JSON as an error shows it: short, whatever the file says, and never by recursion, which a file
 * could nest deeper than the stack.
 */
export function shown(value: unknown): string {
  if (!Array.isArray(value)) return shownItem(value);
  const items = value.slice(0, ITEMS).map(shownItem);
  return `[${items.join(', ')}${value.length > ITEMS ? ', …' : ''}]`;
}
