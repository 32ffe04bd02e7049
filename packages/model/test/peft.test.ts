import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import * as tf from '@tensorflow/tfjs-core';
import {
  attachLora,
  attachLoraFromBase,
  detachLora,
  exportAdapter,
  type LoraAdapter,
  type LoraConfig,
  loadAdapter,
  saveAdapter,
} from '@therapeutic-moe/lora';
import { expectClose } from '@therapeutic-moe/test-kit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type CausalLm, countParameters, loadModelDirectory, saveHuggingFace } from '../src/index.js';
import { tinyConfig, tinyModel } from './tiny-model.js';

/** A Python with torch, transformers and peft; without it these tests are reported as skipped. */
const python = process.env.TMOE_PEERS_PYTHON ?? '';
/** Two float32 implementations of two layers. */
const LOGITS = 2e-4;
/** Relative to the largest gradient of a factor. */
const GRADIENTS = 1e-3;
/** Singular vectors of float32 weights around 0.1, of values of some tenths. */
const STARTED = 2e-5;

interface Reference {
  logits: number[];
  trainable: number;
  gradients: Record<string, number[]>;
}

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const mistral = here('./fixtures/mistral-nemo-shape');
const mixtral = here('./fixtures/mixtral-4x-top2');
const ids = [42, 37, 52, 34, 60, 55, 31];

async function askPeft<T>(script: string, ...args: string[]): Promise<T> {
  const { stdout } = await promisify(execFile)(python, [here(script), ...args, JSON.stringify(ids)], {
    maxBuffer: 2 ** 26,
  });
  return JSON.parse(stdout) as T;
}

const forward = (model: CausalLm) => model.forward(tf.tensor2d([ids], [1, ids.length], 'int32')).logits;

async function expectLogits(model: CausalLm, expected: number[]): Promise<void> {
  const logits = tf.tidy(() => tf.reshape(forward(model), [-1]));
  await expectClose(logits, expected, LOGITS);
  logits.dispose();
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
    const wanted = reference.gradients[`base_model.model.${nested(path)}${suffix}`]!;
    const size = Math.max(...wanted.map(Math.abs));
    const axes = factor.rank === 3 ? (path.endsWith('lora_A') ? [0, 2, 1] : [2, 1, 0]) : undefined;
    const turned = tf.tidy(() => tf.reshape(tf.mul(tf.transpose(grads[factor.name]!, axes), 1 / size), [-1]));
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

/** PEFT's path of a factor: of two parameters of a module, the first lies in the `base_layer` of the second. */
function nested(path: string): string {
  return path.replace('.gate_up_proj', '.base_layer').replace('experts.down_proj', 'experts');
}

describe.skipIf(python === '')('PEFT reads our adapters', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'peft-'));
  });
  afterEach(() => rm(directory, { recursive: true }));

  const everywhere = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'];
  const experts = ['experts.gate_up_proj', 'experts.down_proj'];

  it.each<[string, Partial<LoraConfig>]>([
    [
      mistral,
      {
        rankPattern: { '0.self_attn.q_proj': 3, 'q_proj|o_proj': 7 },
        alphaPattern: { 'layers.1.self_attn.[kv]_proj': 5 },
      },
    ],
    [mistral, { targetModules: ['1.self_attn.v_proj', 'q_proj'], initLoraWeights: 'gaussian' }],
    [mistral, { targetModules: '.*\\.1\\.self_attn\\.(q|o)_proj', useRslora: true, rankPattern: { o_proj: 5 } }],
    [mistral, { useDora: true }],
    [
      mistral,
      {
        useDora: true,
        useRslora: true,
        rankPattern: { 'v_proj|1.+k_proj': 5 },
        alphaPattern: { '^model.layers.0.+': 3 },
      },
    ],
    [mistral, { targetModules: 'all-linear', rankPattern: { up_proj: 3 } }],
    [mistral, { targetModules: everywhere, useRslora: true }],
    [mistral, { targetModules: everywhere, useDora: true }],
    [mixtral, { targetModules: ['q_proj'], targetParameters: experts, rankPattern: { 'experts.down_proj': 3 } }],
    [mixtral, { targetModules: 'all-linear', targetParameters: experts, useRslora: true }],
  ])(
    'with the logits, gradients and number of parameters that we give: %s %j',
    async (base, changes) => {
      const settings = { r: 2, loraAlpha: 4, ...changes };
      const model = await loadModelDirectory(base);
      const adapter = attachLora(model, settings, 1);
      change(adapter);
      await saveAdapter(adapter, directory, base);
      const again = join(directory, 'again');
      const reference = await askPeft<Reference>('./peft-reference.py', base, directory, again);
      await expectSameFiles(directory, again);
      await exportAdapter(directory, join(directory, 'exported'), { baseModel: base });
      await expectSameFiles(join(directory, 'exported'), again);
      await expectLogits(model, reference.logits);
      expect(countParameters(model.config, settings).trainable).toBe(reference.trainable);
      const trained = [...adapter.parameters().values()];
      const { value, grads } = tf.variableGrads(() => tf.mean(tf.square(forward(model))) as tf.Scalar, trained);
      await expectGradients(grads, adapter, reference);
      tf.dispose([value, grads]);
      model.dispose();
    },
    120_000,
  );

  it.each<Partial<LoraConfig>>([
    { initLoraWeights: 'pissa', targetModules: everywhere },
    { initLoraWeights: 'olora', useRslora: true },
    { initLoraWeights: 'pissa_niter_4', useDora: true },
    { targetModules: ['q_proj', 'lm_head'] },
  ])(
    'that it would write otherwise, plain ones for those that started from the base and no copy of the head: %j',
    async (changes) => {
      const model = await loadModelDirectory(mistral);
      const adapter = await attachLoraFromBase(model, { r: 2, loraAlpha: 4, ...changes }, 1);
      change(adapter);
      await saveAdapter(adapter, directory, mistral);
      const { logits } = await askPeft<Reference>('./peft-reference.py', mistral, directory, join(directory, 'again'));
      await expectLogits(model, logits);
      model.dispose();
    },
    120_000,
  );

  it('on a Qwen2-MoE with dense layers and a shared expert that we wrote', async () => {
    const mixture = { ...tinyConfig().mixture!, layers: [1], sharedExpert: { intermediateSize: 11, gate: true } };
    const model = tinyModel({ vocabSize: 67, qkvBias: true, mixture });
    const base = join(directory, 'base');
    await saveHuggingFace(model, base);
    for (const changes of [
      {},
      { targetModules: ['q_proj', '0.mlp.up_proj', 'shared_expert.gate_proj', 'shared_expert.down_proj'] },
      { targetModules: ['shared_expert_gate', 'shared_expert.up_proj'], targetParameters: experts },
    ]) {
      const adapter = attachLora(model, { r: 1, loraAlpha: 5, ...changes }, 1);
      change(adapter);
      await saveAdapter(adapter, directory, base);
      const again = join(directory, 'again');
      const { logits } = await askPeft<Reference>('./peft-reference.py', base, directory, again);
      await expectSameFiles(directory, again);
      await expectLogits(model, logits);
      detachLora(model, adapter);
    }
    model.dispose();
  }, 120_000);
});

/** What `peft-writes.py` says. */
interface Written {
  logits: number[];
  started: Record<string, number[]>;
}

describe.skipIf(python === '')('we read adapters of PEFT', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'peft-'));
  });
  afterEach(() => rm(directory, { recursive: true }));

  const write = (base: string, settings: Record<string, unknown>) =>
    askPeft<Written>('./peft-writes.py', base, JSON.stringify({ r: 2, lora_alpha: 6, ...settings }), directory);

  async function expectRead(base: string, folder: string, logits: number[]): Promise<void> {
    const model = await loadModelDirectory(base);
    await loadAdapter(model, join(directory, folder));
    await expectLogits(model, logits);
    model.dispose();
  }

  it.each<[string, Record<string, unknown>]>([
    [mistral, { target_modules: 'all-linear', rank_pattern: { up_proj: 3 } }],
    [mistral, { target_modules: ['gate_proj', 'down_proj', 'lm_head'], use_rslora: true }],
    [mistral, { target_modules: ['up_proj', 'q_proj'], use_dora: true }],
    [mixtral, { target_modules: ['v_proj'], target_parameters: ['experts.gate_up_proj', 'experts.down_proj'] }],
    [
      mixtral,
      {
        target_modules: [],
        target_parameters: ['0.mlp.experts.gate_up_proj', 'mlp.experts.down_proj'],
        rank_pattern: { 'experts.gate_up_proj': 3 },
        use_rslora: true,
      },
    ],
  ])(
    'with the logits that it gives: %s %j',
    async (base, settings) => {
      const { logits } = await write(base, settings);
      await expectRead(base, 'plain', logits);
    },
    120_000,
  );

  it.each<Partial<LoraConfig>>([
    { initLoraWeights: 'pissa', useRslora: false },
    { initLoraWeights: 'pissa', useRslora: true },
    { initLoraWeights: 'olora', useRslora: false },
  ])(
    'that started from the base, converted or not, and start with the same part of it: %j',
    async ({ initLoraWeights, useRslora }) => {
      const names = ['q_proj', 'k_proj', 'gate_proj', 'down_proj'];
      const settings = { target_modules: names, init_lora_weights: initLoraWeights, use_rslora: useRslora };
      const { logits, started } = await write(mistral, settings);
      await expectRead(mistral, 'plain', logits);
      await expectRead(mistral, 'converted', logits);
      const model = await loadModelDirectory(mistral);
      const ours = { r: 2, loraAlpha: 6, targetModules: names, initLoraWeights, useRslora };
      const adapter = await attachLoraFromBase(model, ours, 1);
      for (const [path, { a, b, config }] of adapter.layers) {
        const product = tf.tidy(() =>
          tf.reshape(tf.transpose(tf.mul(tf.matMul(a as tf.Tensor2D, b as tf.Tensor2D), config.scale)), [-1]),
        );
        await expectClose(product, started[path]!, STARTED);
        product.dispose();
      }
      model.dispose();
    },
    120_000,
  );
});
