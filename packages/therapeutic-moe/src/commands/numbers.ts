/** Reads an option that must be a number. @throws naming the option and what came. */
export function readNumber(
  option: string,
  text: string,
  { min, max, whole }: { min: number; max: number; whole?: boolean },
): number {
  const value = text.trim() === '' ? Number.NaN : Number(text);
  if (!(value >= min && value <= max) || (whole && !Number.isInteger(value))) {
    throw new Error(`--${option} must be a ${whole ? 'whole ' : ''}number from ${min} to ${max}, got '${text}'.`);
  }
  return value;
}

/** Reads comma-separated whole numbers. @throws naming the option and the entry. */
export function readIds(option: string, text: string): number[] {
  return text.split(',').map((part) => readNumber(option, part, { min: 0, max: 2 ** 31 - 1, whole: true }));
}
