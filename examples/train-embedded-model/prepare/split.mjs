import { createHash } from 'node:crypto';

/** A number in [0, 1) that depends on the seed and the key only, so that no split depends on the order of rows. */
export function hashFraction(seed, key) {
  return createHash('sha256').update(`${seed}:${key}`).digest().readUIntBE(0, 6) / 2 ** 48;
}

/** Picks one of `items` for `key`. */
export const pick = (items, seed, key) => items[Math.floor(hashFraction(seed, key) * items.length)];

/**
 * Assigns whole groups to 'train', 'validation' or 'test': groups ordered by hash, the first shares held out.
 * @returns a Map from group to split.
 */
export function splitGroups(groups, seed, { validation, test }) {
  const ordered = [...new Set(groups)].sort((a, b) => hashFraction(seed, a) - hashFraction(seed, b));
  const held = (share) => Math.max(1, Math.round(share * ordered.length));
  const tests = held(test);
  const validations = held(validation);
  return new Map(
    ordered.map((group, i) => [group, i < tests ? 'test' : i < tests + validations ? 'validation' : 'train']),
  );
}

/** Joins keys that stand for the same thing (union-find); `root(key)` names the group. */
export function createGroups() {
  const parent = new Map();
  const root = (key) => {
    if (!parent.has(key)) parent.set(key, key);
    while (parent.get(key) !== key) {
      parent.set(key, parent.get(parent.get(key)));
      key = parent.get(key);
    }
    return key;
  };
  return { root, join: (a, b) => void parent.set(root(a), root(b)) };
}
