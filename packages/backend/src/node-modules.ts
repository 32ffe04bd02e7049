/** True under Node, where packages can be found through `createRequire`. */
export function isNode(): boolean {
  return typeof process !== 'undefined' && typeof process.versions?.node === 'string';
}

/** One sentence out of whatever was thrown: the first line of its message. */
export function reasonOf(thrown: unknown): string {
  const message =
    typeof thrown === 'object' && thrown !== null && 'message' in thrown ? String(thrown.message) : String(thrown);
  return (message.split('\n')[0] ?? '').trim();
}

/** True when `thrown` says that the package `name` itself is absent, and not one of its own dependencies. */
export function isMissing(thrown: unknown, name: string): boolean {
  const code = typeof thrown === 'object' && thrown !== null && 'code' in thrown ? thrown.code : undefined;
  return (code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND') && reasonOf(thrown).includes(name);
}
