/** Refuses what is not a count. The field is given as `{ name: value }`, so the message needs no second spelling. */
export function refuseCount(where: string, fields: Record<string, number>): void {
  for (const [field, value] of Object.entries(fields)) {
    if (!Number.isInteger(value) || value < 1) {
      throw new Error(`${where}: ${field} must be a whole number of 1 or more, got ${String(value)}.`);
    }
  }
}

/** Refuses what is neither true nor false. */
export function refuseFlag(where: string, fields: Record<string, boolean>): void {
  for (const [field, value] of Object.entries(fields)) {
    if (typeof value !== 'boolean') throw new Error(`${where}: ${field} must be true or false, got ${String(value)}.`);
  }
}

/** Refuses a part that is larger than its whole, saying why. */
export function refuseMoreThan(
  where: string,
  part: Record<string, number>,
  whole: Record<string, number>,
  why: string,
): void {
  const [[partName, partValue], [wholeName, wholeValue]] = [only(part), only(whole)];
  if (partValue > wholeValue) {
    throw new Error(`${where}: ${partName} is ${partValue} but ${wholeName} is ${wholeValue}; ${why}.`);
  }
}

/** Refuses groups that do not divide what they group. */
export function refuseUnlessDivides(where: string, groups: Record<string, number>, all: Record<string, number>): void {
  const [[groupsName, groupsValue], [allName, allValue]] = [only(groups), only(all)];
  if (allValue % groupsValue !== 0) {
    throw new Error(
      `${where}: ${groupsName} is ${groupsValue} but ${allName} is ${allValue}; it must divide it, so that groups are alike.`,
    );
  }
}

function only(field: Record<string, number>): [string, number] {
  return Object.entries(field)[0]!;
}
