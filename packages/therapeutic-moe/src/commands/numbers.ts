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

const units = { KB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12, KIB: 2 ** 10, MIB: 2 ** 20, GIB: 2 ** 30, TIB: 2 ** 40 };

/** A number of bytes in one of the units that transformers knows. @throws naming the option and what came. */
export function readBytes(option: string, text: string): number {
  const [, count, unit = ''] = /^(\d+(?:\.\d+)?) ?([KMGT]i?B)$/i.exec(text) ?? [];
  const bytes = Number(count) * units[unit.toUpperCase() as keyof typeof units];
  if (bytes >= 1) return bytes;
  throw new Error(`--${option} must be a size such as 80GB (80e9 bytes), 500MB or 24GiB, got '${text}'.`);
}
