/** Reads one field: returns the checked value or throws naming field, value and way out. */
export type Field<T> = (value: unknown, name: string) => T;

/** Why a config was refused. */
export const refuse = (name: string, expected: string, value: unknown): never => {
  throw new Error(`config: ${name} must be ${expected}, got ${JSON.stringify(value) ?? 'nothing'}.`);
};

const inRange = (value: unknown, least: number, most: number): value is number =>
  typeof value === 'number' && Number.isFinite(value) && value >= least && value <= most;

/** A whole number between two bounds, both included. */
export const whole =
  (least: number, most = Number.MAX_SAFE_INTEGER): Field<number> =>
  (value, name) =>
    inRange(value, least, most) && Number.isInteger(value)
      ? value
      : refuse(
          name,
          most === Number.MAX_SAFE_INTEGER
            ? `a whole number of at least ${least}`
            : `a whole number from ${least} to ${most}`,
          value,
        );

/** A number between two bounds, both included. */
export const number =
  (least: number, most = Number.POSITIVE_INFINITY): Field<number> =>
  (value, name) =>
    inRange(value, least, most)
      ? value
      : refuse(
          name,
          most === Number.POSITIVE_INFINITY ? `a number of at least ${least}` : `a number from ${least} to ${most}`,
          value,
        );

export const positive: Field<number> = (value, name) =>
  inRange(value, Number.MIN_VALUE, Number.MAX_VALUE) ? value : refuse(name, 'a number above 0', value);

export const text: Field<string> = (value, name) =>
  typeof value === 'string' && value !== '' ? value : refuse(name, 'a text that is not empty', value);

export const oneOf =
  <const T extends readonly (string | boolean)[]>(...choices: T): Field<T[number]> =>
  (value, name) =>
    choices.includes(value as T[number]) ? (value as T[number]) : refuse(name, `one of ${choices.join(', ')}`, value);

/** A text, or else what `field` reads. */
export const textOr =
  <T>(field: Field<T>): Field<string | T> =>
  (value, name) =>
    typeof value === 'string' ? text(value, name) : field(value, name);

/** A list with at least one entry. */
export const listOf =
  <T>(field: Field<T>): Field<readonly T[]> =>
  (value, name) =>
    Array.isArray(value) && value.length > 0
      ? value.map((entry, i) => field(entry, `${name}[${i}]`))
      : refuse(name, 'a list that is not empty', value);

/** A list, which may be empty. */
export const anyListOf =
  <T>(field: Field<T>): Field<readonly T[]> =>
  (value, name) =>
    Array.isArray(value)
      ? value.map((entry, i) => field(entry, `${name}[${i}]`))
      : refuse(name, 'a list of names, or one text', value);

/** An object whose keys are free. */
export const recordOf =
  <T>(field: Field<T>): Field<Readonly<Record<string, T>>> =>
  (value, name) =>
    Object.fromEntries(
      Object.entries(asObject(value, name)).map(([key, entry]) => [key, field(entry, `${name}.${key}`)]),
    );

export const anything: Field<unknown> = (value) => value;

/** The field may be left out; then it is `fallback`. */
export const optional =
  <T, D>(field: Field<T>, fallback: D): Field<T | D> =>
  (value, name) =>
    value === undefined ? fallback : field(value, name);

type Section<F extends Record<string, Field<unknown>>> = { readonly [K in keyof F]: ReturnType<F[K]> };

/** An object with exactly these fields; a key that is not one of them is refused with the nearest one. */
export const section =
  <F extends Record<string, Field<unknown>>>(fields: F): Field<Section<F>> =>
  (value, name) => {
    const given = asObject(value, name || 'the config');
    const known = Object.keys(fields);
    for (const key of Object.keys(given))
      if (!known.includes(key)) throw unknownKey(name ? `${name}.${key}` : key, key, known);
    return Object.freeze(
      Object.fromEntries(known.map((key) => [key, fields[key](given[key], name ? `${name}.${key}` : key)])),
    ) as Section<F>;
  };

function asObject(value: unknown, name: string): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : refuse(name, 'an object', value);
}

function unknownKey(path: string, key: string, known: readonly string[]): Error {
  const nearest = nearestKey(key, known);
  const way = nearest ? `did you mean ${nearest}?` : `known are ${known.join(', ')}.`;
  return new Error(`config: unknown key ${path}; ${way}`);
}

/** The known key that a misspelt one is closest to, if any is close. */
export function nearestKey(key: string, known: readonly string[]): string | undefined {
  const scored = known.map((candidate) => ({
    candidate,
    distance: editDistance(key.toLowerCase(), candidate.toLowerCase()),
  }));
  const best = scored.sort((a, b) => a.distance - b.distance)[0];
  return best && best.distance <= Math.max(2, Math.floor(key.length / 2)) ? best.candidate : undefined;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      next.push(Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length];
}
