import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import * as tf from '@tensorflow/tfjs-core';
import { expectClose } from '@therapeutic-moe/test-kit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type CausalLm,
  type ConfigOverrides,
  loadModelDirectory,
  type SaveModelOptions,
  saveHuggingFace,
} from '../src/index.js';
import { logitsOf, tinyConfig, tinyModel } from './tiny-model.js';

/** A Python with torch and transformers; without it these tests are reported as skipped. */
const python = process.env.TMOE_PEERS_PYTHON ?? '';
/** Two float32 implementations of three layers, relative to the largest logit. */
const LOGITS = 1e-5;

interface Reference {
  readonly logits: number[];
  readonly strange: string[];
  readonly class: string;
}

interface Case {
  readonly config: ConfigOverrides;
  readonly architecture: string;
  readonly options?: SaveModelOptions;
}

const script = fileURLToPath(new URL('./transformers-reference.py', import.meta.url));
const ids = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5];
const mixture = tinyConfig().mixture!;
const sharedExpert = { intermediateSize: 11, gate: true };
const [Mistral, Mixtral, Qwen2Moe] = ['MistralForCausalLM', 'MixtralForCausalLM', 'Qwen2MoeForCausalLM'];

const cases: Readonly<Record<string, Case>> = {
  'a dense model with a window and a tied head': {
    config: { mixture: undefined, slidingWindow: 3, tieWordEmbeddings: true },
    architecture: Mistral,
  },
  'a mixture with YaRN': {
    config: { ropeScaling: { type: 'yarn', factor: 2, originalMaxPositionEmbeddings: 8 } },
    architecture: Mixtral,
  },
  'a mixture with narrow experts and softmax after top-k': {
    config: { mixture: { ...mixture, moeIntermediateSize: 3, softmaxOrder: 'after-top-k' } },
    architecture: Mixtral,
  },
  'a mixture in shards, rounded to bfloat16': {
    config: {},
    architecture: Mixtral,
    options: { dtype: 'BF16', maxShardBytes: 500 },
  },
  'dense and sparse layers, with a shared expert of zeros': {
    config: { mixture: { ...mixture, layers: [1], moeIntermediateSize: 3 } },
    architecture: Qwen2Moe,
  },
  'dense and sparse layers with a shared expert, biases and plain weights': {
    config: { qkvBias: true, mixture: { ...mixture, normTopkProb: false, layers: [0, 2], sharedExpert } },
    architecture: Qwen2Moe,
  },
  'one expert for each token, not renormalised, behind a window': {
    config: { slidingWindow: 3, mixture: { ...mixture, numExpertsPerTok: 1, normTopkProb: false } },
    architecture: Qwen2Moe,
  },
  'a shared expert with linear scaling': {
    config: { ropeScaling: { type: 'linear', factor: 2 }, mixture: { ...mixture, sharedExpert } },
    architecture: Qwen2Moe,
  },
};

/** A model none of whose variables is still what all fresh models have. */
function changedModel(config: ConfigOverrides): CausalLm {
  const model = tinyModel({ numHiddenLayers: 3, ...config });
  for (const [i, variable] of [...model.parameters().values()].entries())
    tf.tidy(() => variable.assign(tf.add(variable, tf.randomNormal(variable.shape, 0, 0.2, 'float32', i + 1))));
  return model;
}

async function askTransformers(folders: readonly string[]): Promise<Record<string, Reference>> {
  const { stdout } = await promisify(execFile)(python, [script, JSON.stringify(ids), ...folders], {
    maxBuffer: 2 ** 26,
  });
  return JSON.parse(stdout) as Record<string, Reference>;
}

describe.skipIf(python === '')('transformers reads our checkpoints', () => {
  let root: string;
  let references: Record<string, Reference>;
  const folderOf = (name: string) => join(root, name.replaceAll(/\W+/g, '-'));

  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'transformers-'));
    for (const [name, { config, options }] of Object.entries(cases)) {
      const model = changedModel(config);
      await saveHuggingFace(model, folderOf(name), options);
      model.dispose();
    }
    references = await askTransformers(Object.keys(cases).map(folderOf));
  }, 180_000);
  afterAll(() => rm(root, { recursive: true }));

  for (const [name, { config, architecture, options }] of Object.entries(cases)) {
    it(`with our logits: ${name}`, async () => {
      const reference = references[folderOf(name)]!;
      expect([reference.class, reference.strange]).toEqual([architecture, []]);
      // Rounded weights are other weights: they are read back, as transformers reads them.
      const loaded = await loadModelDirectory(folderOf(name));
      const model = options?.dtype ? loaded : changedModel(config);
      const logits = await logitsOf(model, ids);
      await expectEqualLogits(logits, reference.logits);
      expect(await logitsOf(loaded, ids)).toEqual(logits);
      model.dispose();
      if (model !== loaded) loaded.dispose();
    });
  }
});

async function expectEqualLogits(logits: Float32Array, expected: readonly number[]): Promise<void> {
  const largest = Math.max(...expected.map(Math.abs));
  const relative = (values: ArrayLike<number>) => Array.from(values, (value) => value / largest);
  await expectClose(relative(logits), relative(expected), LOGITS);
  const vocab = expected.length / ids.length;
  const best = (values: ArrayLike<number>) =>
    ids.map((_, i) => {
      const row = Array.from(values).slice(i * vocab, (i + 1) * vocab);
      return row.indexOf(Math.max(...row));
    });
  expect(best(logits)).toEqual(best(expected));
}
