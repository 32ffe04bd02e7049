// usage: node src/make-base.mjs [--steps 1500]
// Makes base/, a tiny dense Mistral checkpoint: trained on this repository's documentation, stored as people publish them,
// in bfloat16, in shards with an index. (Build the workspace first: npm run setup && npm run build.)
import { copyFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readOptions, trainPreset } from '@therapeutic-moe/example-train-a-preset';
import { model as models } from 'therapeutic-moe';

const base = fileURLToPath(new URL('../base', import.meta.url));

/** Mistral's shape, in small: no mixture, an untied head, fewer key-value heads, heads that are not hidden / heads wide. */
const dense = {
  mixture: undefined,
  hiddenSize: 48,
  intermediateSize: 128,
  numHiddenLayers: 4,
  numAttentionHeads: 4,
  numKeyValueHeads: 2,
  headDim: 16,
  tieWordEmbeddings: false,
};

const options = readOptions('make-base', process.argv.slice(2));
const { model, folder } = await trainPreset('therapeutic', { ...options, overrides: dense });
await rm(base, { recursive: true, force: true });
await models.saveModelDirectory(model.decoder, base, { dtype: 'BF16', maxShardBytes: 200_000 });
for (const name of ['tokenizer.json', 'tokenizer_config.json']) await copyFile(join(folder, name), join(base, name));
await writeFile(
  join(base, 'generation_config.json'),
  `${JSON.stringify({ bos_token_id: 0, eos_token_id: 0, do_sample: true, temperature: 0.7, top_p: 0.95 }, null, 2)}\n`,
);
model.dispose();
