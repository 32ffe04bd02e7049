import { findDuplicateKey } from './duplicate-keys.js';
import { shown } from './shown.js';

const SHARD_NAME = /^[^/\\:\p{Cc}]+\.safetensors$/u;

/**
 * Parses `model.safetensors.index.json`: which shard holds which tensor. A shard is a plain file name beside the
 * index, so that a downloaded index cannot point elsewhere on the disk.
 *
 * @param json the file's text.
 * @param file the name to use in errors.
 * @returns tensor name → shard file name, in the index's order.
 * @throws if the text is not such an index, names a tensor twice, or names a path instead of a file, or
 *   has a control character in a name.
 */
export function parseShardIndex(json: string, file: string): Map<string, string> {
  let index: unknown;
  try {
    index = JSON.parse(json);
  } catch (cause) {
    throw new Error(`checkpoint: ${file}: expected JSON, got text that does not parse.`, { cause });
  }
  const duplicate = findDuplicateKey(json);
  if (duplicate !== undefined) {
    throw new Error(`checkpoint: ${file}: expected every name once, got "${duplicate}" twice.`);
  }
  const weightMap = (index as { weight_map?: unknown } | null)?.weight_map;
  if (typeof weightMap !== 'object' || weightMap === null || Array.isArray(weightMap)) {
    throw new Error(
      `checkpoint: ${file}: expected an object under "weight_map" (tensor name → shard file), got ${shown(weightMap)}.`,
    );
  }
  const shards = new Map<string, string>();
  for (const [tensor, shard] of Object.entries(weightMap)) {
    if (typeof shard !== 'string' || !SHARD_NAME.test(shard)) {
      throw new Error(
        `checkpoint: ${file}: tensor "${tensor}": expected the shard to be a plain file name ending in .safetensors, got ${shown(shard)}; a shard lies beside its index.`,
      );
    }
    shards.set(tensor, shard);
  }
  if (shards.size === 0) throw new Error(`checkpoint: ${file}: expected at least one tensor in weight_map, got none.`);
  return shards;
}
