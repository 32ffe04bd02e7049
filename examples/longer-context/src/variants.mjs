import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { model as models } from 'therapeutic-moe';

/**
 * Ways to let a model serve more positions than it was trained on: a name, and what it changes in the config. The weights
 * stay as they are. `window` sees no further back than in training, so it tells what more context is worth, and longer rows have nothing to
 * teach it: it is not tuned.
 *
 * @type {Record<string, { name: string, onlyPlain?: true, change: (trained: number, factor: number) => import('therapeutic-moe').model.ConfigOverrides }>}
 */
export const variants = {
  none: {
    name: 'no scaling',
    change: (trained, factor) => ({ maxPositionEmbeddings: trained * factor }),
  },
  linear: {
    name: 'linear interpolation',
    change: (_, factor) => ({ ropeScaling: { type: 'linear', factor } }),
  },
  yarn: {
    name: 'YaRN',
    change: (trained, factor) => ({
      maxPositionEmbeddings: trained * factor,
      ropeScaling: { type: 'yarn', factor, originalMaxPositionEmbeddings: trained },
    }),
  },
  window: {
    name: 'no scaling, sliding window',
    onlyPlain: true,
    change: (trained, factor) => ({ maxPositionEmbeddings: trained * factor, slidingWindow: trained }),
  },
};

/**
 * Writes a checkpoint with the same weights and tokenizer and another config.
 *
 * @returns the folder written.
 */
export async function writeVariant(from, to, variant, factor) {
  const model = await models.loadModelDirectory(from);
  const changes = variants[variant].change(model.config.maxPositionEmbeddings, factor);
  const changed = models.CausalLm.empty(models.resolveConfig({ ...model.config, ...changes }));
  try {
    for (const part of ['parameters', 'buffers'])
      for (const [path, variable] of changed[part]()) variable.assign(model[part]().get(path));
    await models.saveModelDirectory(changed, to);
  } finally {
    model.dispose();
    changed.dispose();
  }
  for (const name of ['tokenizer.json', 'tokenizer_config.json']) await copyFile(join(from, name), join(to, name));
  return to;
}
