/**
 * Refuses keys that a config does not have, so that a misspelt setting is an error and not a default.
 *
 * @param where what is being read, for the message: `'lora'`.
 * @throws Error naming the unknown key and the known ones.
 */
export function refuseUnknownKeys(where: string, value: object, known: readonly string[]): void {
  for (const key of Object.keys(value)) {
    if (!known.includes(key)) throw new Error(`${where}: unknown key '${key}'; known are ${known.join(', ')}.`);
  }
}
