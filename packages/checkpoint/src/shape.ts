const WIDEST_ELEMENT = 8;

/** True for a whole number from 0 up that is exact as a double. JSON's `-0` is none. */
export function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && !Object.is(value, -0);
}

/**
 * True if `value` is a list of dimensions whose size in bytes is exact as a double, for any element type and whichever
 * of them are 0.
 */
export function isShape(value: unknown): value is number[] {
  if (!Array.isArray(value) || !value.every(isCount)) return false;
  return Number.isSafeInteger(value.reduce((product, d) => product * Math.max(d, 1), WIDEST_ELEMENT));
}
