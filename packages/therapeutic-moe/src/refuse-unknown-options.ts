/** What the check needs to know of an option; citty's definitions fit. */
export interface KnownOption {
  /** A `string` takes the next word as its value, a `boolean` none; a `positional` is a word that stands alone. */
  readonly type?: string;
}

/**
 * citty ignores what it does not know: a misspelt option would silently fall back to a default, a stray word would be lost.
 *
 * @param given the words after the command. @param known the command's options by name.
 * @throws naming the word and the known options.
 */
export function refuseUnknownOptions(
  command: string,
  given: readonly string[],
  known: Readonly<Record<string, KnownOption>>,
): void {
  const options = Object.fromEntries(Object.entries(known).filter(([, { type }]) => type !== 'positional'));
  let alone = Object.keys(known).length - Object.keys(options).length;
  const choice = `${command} knows ${Object.keys(options)
    .map((each) => `--${each}`)
    .join(', ')}.`;
  const words = given.values();
  for (const word of words) {
    const [, negation, name, assigned] = /^--(no-)?([^=]+)(?:=(.*))?$/s.exec(word) ?? [];
    if (name === undefined) {
      if (!word.startsWith('-') && alone-- > 0) continue;
      throw new Error(`unexpected ${word.startsWith('-') ? 'option' : 'word'} '${word}'; ${choice}`);
    }
    if (!Object.hasOwn(options, name)) throw new Error(`unknown option --${name}; ${choice}`);
    const takesValue = options[name]!.type === 'string';
    if (negation && (takesValue || assigned !== undefined)) throw new Error(`${word} makes no sense; use --${name}.`);
    if (!takesValue && assigned !== undefined) throw new Error(`--${name} takes no value, got '${assigned}'.`);
    if (!takesValue) continue;
    const value = assigned ?? words.next().value;
    if (!value || (assigned === undefined && value.startsWith('--'))) {
      throw new Error(`--${name} needs a value, such as --${name} VALUE.`);
    }
  }
}
