// Checkpoints that transformers writes while the test runs: shapes and settings that no fixture has.

import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { configFromHuggingFace, loadModelDirectory } from '../src/index.js';
import { type Expected, expectEqualToReference, expectGreedyWithoutCache } from './reference.js';

/** A Python with torch and transformers; without it these tests are reported as skipped. */
const python = process.env.TMOE_PEERS_PYTHON ?? '';
const script = fileURLToPath(new URL('./write-checkpoints.py', import.meta.url));

// torch multiplies experts whose rows are whole multiples of 16 bytes.
const sizes = {
  ...{ vocab_size: 37, hidden_size: 20, intermediate_size: 28, num_hidden_layers: 3, num_attention_heads: 5 },
  ...{ num_key_value_heads: 1, max_position_embeddings: 41, bos_token_id: null, eos_token_id: null },
};
const mixtral = { ...sizes, num_local_experts: 5, num_experts_per_tok: 2 };
const qwen = {
  ...{ ...sizes, num_experts: 5, num_experts_per_tok: 3, moe_intermediate_size: 12 },
  shared_expert_intermediate_size: 44,
};
const sliding = Array.from({ length: 3 }, () => 'sliding_attention');
const yarn = { rope_type: 'yarn', rope_theta: 1e4, factor: 4, original_max_position_embeddings: 7 };

const cases: Record<string, { family: string; config: object; fused?: boolean }> = {
  'mixtral, tied': { family: 'mixtral', config: { ...mixtral, tie_word_embeddings: true } },
  'mixtral, one expert per token': { family: 'mixtral', config: { ...mixtral, num_experts_per_tok: 1 } },
  'mixtral, in a window': { family: 'mixtral', config: { ...mixtral, sliding_window: 4, head_dim: 6 } },
  'mixtral, fused experts': { family: 'mixtral', config: mixtral, fused: true },
  'qwen2_moe, all sparse, not renormalised': { family: 'qwen2_moe', config: qwen },
  'qwen2_moe, mlp_only_layers, tied': {
    family: 'qwen2_moe',
    config: { ...qwen, mlp_only_layers: [0, 2], tie_word_embeddings: true },
  },
  'qwen2_moe, every third layer': {
    family: 'qwen2_moe',
    config: { ...qwen, num_hidden_layers: 7, decoder_sparse_step: 3, mlp_only_layers: [5], norm_topk_prob: true },
  },
  'qwen2_moe, all dense': { family: 'qwen2_moe', config: { ...qwen, mlp_only_layers: [0, 1, 2] } },
  'qwen2_moe, no biases, heads of their own size': {
    family: 'qwen2_moe',
    config: { ...qwen, qkv_bias: false, head_dim: 6 },
  },
  'qwen2_moe, in a window': {
    family: 'qwen2_moe',
    config: { ...qwen, use_sliding_window: true, sliding_window: 3, layer_types: sliding },
  },
  'qwen2_moe, a window for no layer': {
    family: 'qwen2_moe',
    config: { ...qwen, use_sliding_window: true, sliding_window: 3, max_window_layers: 0 },
  },
  'qwen2_moe, stretched': { family: 'qwen2_moe', config: { ...qwen, rope_parameters: yarn } },
  'qwen2_moe, fused experts': { family: 'qwen2_moe', config: { ...qwen, mlp_only_layers: [1] }, fused: true },
};

describe.skipIf(python === '')('What transformers writes', () => {
  let directory: string;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'transformers-'));
    await promisify(execFile)(python, [script, directory, JSON.stringify(cases)], { maxBuffer: 2 ** 26 });
  }, 300_000);
  afterAll(() => rm(directory, { recursive: true }));

  it.each(Object.keys(cases))('gives the same logits and tokens here: %s', async (name) => {
    const expected = JSON.parse(await readFile(join(directory, name, 'expected.json'), 'utf8')) as Expected;
    const model = await loadModelDirectory(join(directory, name));
    await expectEqualToReference(model, expected.ids, expected);
    await expectGreedyWithoutCache(model, expected.ids, expected);
    model.dispose();
  });

  it('is what a file means that leaves every field out', async () => {
    const defaults = JSON.parse(await readFile(join(directory, 'defaults.json'), 'utf8')) as Record<string, object>;
    for (const [family, whole] of Object.entries(defaults))
      expect(configFromHuggingFace({ model_type: family })).toEqual(configFromHuggingFace(whole));
  });
});
