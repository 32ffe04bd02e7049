/**
 * citty ignores options it does not know; a misspelt one would silently fall back to a default.
 *
 * @throws naming the option and the known ones.
 */
export function refuseUnknownOptions(command: string, given: readonly string[], known: object): void {
  const names = Object.keys(known);
  for (const word of given) {
    if (word === '--') return;
    const name = /^--(?:no-)?([^=]+)/.exec(word)?.[1];
    if (name !== undefined && !names.includes(name)) {
      throw new Error(`unknown option --${name}; ${command} knows ${names.map((each) => `--${each}`).join(', ')}.`);
    }
  }
}
