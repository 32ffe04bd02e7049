/** A JSON-like value; a property that is `undefined` counts as absent. */
export type CacheKeyValue =
  | string
  | number
  | boolean
  | null
  | undefined
  | readonly CacheKeyValue[]
  | { readonly [key: string]: CacheKeyValue };

/**
 * One byte string per value: every piece carries its type and length, object keys are sorted. Different values never share bytes, so
 * nothing can be moved from one field into its neighbour. Strings are UTF-16, which keeps unpaired surrogates apart.
 *
 * @throws on numbers that are not finite, and on values that are not JSON-like, naming the path.
 */
export function canonicalBytes(value: CacheKeyValue, path = 'key'): Buffer {
  if (value === null || value === undefined) return Buffer.from('n');
  if (typeof value === 'boolean') return Buffer.from(value ? 'b1' : 'b0');
  if (typeof value === 'number') return numberBytes(value, path);
  if (typeof value === 'string') return stringBytes(value);
  if (Array.isArray(value)) return listBytes(value, path);
  if (typeof value === 'object') return objectBytes(value as { readonly [key: string]: CacheKeyValue }, path);
  throw new Error(`cacheKey: ${path} must be a JSON value, got a ${typeof value}.`);
}

function numberBytes(value: number, path: string): Buffer {
  if (!Number.isFinite(value)) throw new Error(`cacheKey: ${path} must be a finite number, got ${value}.`);
  const bytes = Buffer.alloc(9);
  bytes.write('d');
  bytes.writeDoubleBE(value === 0 ? 0 : value, 1);
  return bytes;
}

function stringBytes(value: string): Buffer {
  return Buffer.concat([Buffer.from(`s${value.length}:`), Buffer.from(value, 'utf16le')]);
}

function listBytes(value: readonly CacheKeyValue[], path: string): Buffer {
  return Buffer.concat([
    Buffer.from(`a${value.length}:`),
    ...value.map((item, index) => canonicalBytes(item, `${path}[${index}]`)),
  ]);
}

function objectBytes(value: { readonly [key: string]: CacheKeyValue }, path: string): Buffer {
  const keys = Object.keys(value)
    .filter((key) => value[key] !== undefined)
    .sort();
  const pairs = keys.flatMap((key) => [stringBytes(key), canonicalBytes(value[key], `${path}.${key}`)]);
  return Buffer.concat([Buffer.from(`o${keys.length}:`), ...pairs]);
}
