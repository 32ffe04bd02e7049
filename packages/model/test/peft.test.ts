import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import * as tf from '@tensorflow/tfjs-core';
import { attachLora, exportAdapter, type LoraAdapter, type LoraConfig, saveAdapter } from '@therapeutic-moe/lora';
import { expectClose } from '@therapeutic-moe/test-kit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { countParameters, loadModelDirectory, saveHuggingFace } from '../src/index.js';
import { logitsOf, tinyConfig, tinyModel } from './tiny-model.js';

/** A Python with torch, transformers and peft; without it these tests are reported as skipped. */
const python = process.env.TMOE_PEERS_PYTHON ?? '';
/** Two float32 implementations of two layers. */
const LOGITS = 2e-4;
/** Relative to the largest gradient of a factor. */
const GRADIENTS = 1e-3;

interface Reference {
  logits: number[];
  trainable: number;
  gradients: Record<string, number[]>;
}

const fixture = fileURLToPath(new URL('./fixtures/mistral-nemo-shape', import.meta.url));
const script = fileURLToPath(new URL('./peft-reference.py', import.meta.url));
const ids = [42, 37, 52, 34, 60, 55, 31];

/** @param again where PEFT saves the adapter itself. */
async function askPeft(adapter: string, again: string, base = fixture): Promise<Reference> {
  const { stdout } = await promisify(execFile)(python, [script, base, adapter, again, JSON.stringify(ids)], {
    maxBuffer: 2 ** 26,
  });
  return JSON.parse(stdout) as Reference;
}

/** Stands for training: every factor has moved, each its own way. */
function change(adapter: LoraAdapter): void {
  for (const [i, factor] of [...adapter.parameters().values()].entries()) {
    tf.tidy(() => factor.assign(tf.add(factor, tf.randomNormal(factor.shape, 0, 0.1, 'float32', i + 1))));
  }
}

async function expectGradients(grads: tf.NamedTensorMap, adapter: LoraAdapter, reference: Reference): Promise<void> {
  for (const [path, factor] of adapter.parameters()) {
    const suffix = path.endsWith('lora_magnitude_vector') ? '' : '.weight';
    const wanted = reference.gradients[`base_model.model.${path}${suffix}`]!;
    const size = Math.max(...wanted.map(Math.abs));
    const turned = tf.tidy(() => tf.reshape(tf.mul(tf.transpose(grads[factor.name]!), 1 / size), [-1]));
    await expectClose(
      turned,
      wanted.map((value) => value / size),
      GRADIENTS,
    );
    turned.dispose();
  }
}

/** Every byte of the weights; every field of the config, whose list of targets PEFT writes in any order. */
async function expectSameFiles(ours: string, peft: string): Promise<void> {
  const weights = (folder: string) => readFile(join(folder, 'adapter_model.safetensors'));
  expect((await weights(ours)).equals(await weights(peft))).toBe(true);
  const fields = async (folder: string) => {
    const json = JSON.parse(await readFile(join(folder, 'adapter_config.json'), 'utf8'));
    return Object.entries(json).map(([name, value]) => [name, Array.isArray(value) ? value.sort() : value]);
  };
  expect(await fields(ours)).toEqual(await fields(peft));
}

describe.skipIf(python === '')('PEFT reads our adapters', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'peft-'));
  });
  afterEach(() => rm(directory, { recursive: true }));

  it.each<Partial<LoraConfig>>([
    {
      rankPattern: { '0.self_attn.q_proj': 3, 'q_proj|o_proj': 7 },
      alphaPattern: { 'layers.1.self_attn.[kv]_proj': 5 },
    },
    { targetModules: ['1.self_attn.v_proj', 'q_proj'], initLoraWeights: 'gaussian' },
    { targetModules: '.*\\.1\\.self_attn\\.(q|o)_proj', useRslora: true, rankPattern: { o_proj: 5 } },
    { useDora: true },
    {
      useDora: true,
      useRslora: true,
      rankPattern: { 'v_proj|1.+k_proj': 5 },
      alphaPattern: { '^model.layers.0.+': 3 },
    },
  ])(
    'with the logits, gradients and number of parameters that we give, and saves them as the same bytes: %j',
    async (changes) => {
      const settings = { r: 2, loraAlpha: 4, ...changes };
      const model = await loadModelDirectory(fixture);
      const adapter = attachLora(model, settings, 1);
      change(adapter);
      await saveAdapter(adapter, directory, fixture);
      const reference = await askPeft(directory, join(directory, 'again'));
      await expectSameFiles(directory, join(directory, 'again'));
      await exportAdapter(directory, join(directory, 'exported'), { baseModel: fixture });
      await expectSameFiles(join(directory, 'exported'), join(directory, 'again'));
      const forward = () => model.forward(tf.tensor2d([ids], [1, ids.length], 'int32')).logits;
      const logits = tf.tidy(() => tf.reshape(forward(), [-1]));
      await expectClose(logits, reference.logits, LOGITS);
      expect(countParameters(model.config, settings).trainable).toBe(reference.trainable);
      const trained = [...adapter.parameters().values()];
      const { value, grads } = tf.variableGrads(() => tf.mean(tf.square(forward())) as tf.Scalar, trained);
      await expectGradients(grads, adapter, reference);
      tf.dispose([logits, value, grads]);
      model.dispose();
    },
    120_000,
  );

  it('on a Qwen2-MoE with dense layers that we wrote', async () => {
    const mixture = { ...tinyConfig().mixture!, layers: [1] };
    const model = tinyModel({ vocabSize: 67, qkvBias: true, mixture });
    const base = join(directory, 'base');
    await saveHuggingFace(model, base);
    const adapter = attachLora(model, { r: 3, loraAlpha: 5 }, 1);
    change(adapter);
    await saveAdapter(adapter, directory, base);
    const reference = await askPeft(directory, join(directory, 'again'), base);
    await expectSameFiles(directory, join(directory, 'again'));
    await expectClose(await logitsOf(model, ids), reference.logits, LOGITS);
    model.dispose();
  }, 120_000);
});
