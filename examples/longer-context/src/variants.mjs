import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * Ways to let a checkpoint serve more positions than it was trained on: a name, and what it changes in `config.json`.
 * The weights stay as they are.
 *
 * @type {Record<string, { name: string, change: (config: { max_position_embeddings: number, rope_theta: number }, factor: number) => object }>}
 */
export const variants = {
  none: {
    name: 'no scaling',
    change: ({ max_position_embeddings: trained }, factor) => ({ max_position_embeddings: trained * factor }),
  },
  linear: {
    name: 'linear interpolation',
    change: ({ rope_theta }, factor) => ({ rope_parameters: { rope_theta, rope_type: 'linear', factor } }),
  },
};

/**
 * Copies a checkpoint folder and changes its config.
 *
 * @returns the folder written.
 */
export async function writeVariant(from, to, variant, factor) {
  const config = JSON.parse(await readFile(join(from, 'config.json'), 'utf8'));
  await cp(from, to, { recursive: true });
  const changed = { ...config, ...variants[variant].change(config, factor) };
  await writeFile(join(to, 'config.json'), `${JSON.stringify(changed, null, 2)}\n`);
  return to;
}
