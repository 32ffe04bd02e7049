/** The value as an object whose keys may be read. @throws Error naming it, when it is null, a list or no object at all. */
export function requireObject(value: unknown, name: string): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new Error(`${name} must be an object, got ${JSON.stringify(value) ?? String(value)}.`);
}
