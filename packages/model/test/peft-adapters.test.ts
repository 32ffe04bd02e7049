import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import * as tf from '@tensorflow/tfjs-core';
import { Adapters, type Combination, type LoraConfig, saveAdapter } from '@therapeutic-moe/lora';
import { expectClose } from '@therapeutic-moe/test-kit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type CausalLm, loadModelDirectory } from '../src/index.js';

/** A Python with torch, transformers and peft; without it these tests are reported as skipped. */
const python = process.env.TMOE_PEERS_PYTHON ?? '';
/** Two float32 implementations of two layers. */
const LOGITS = 2e-4;
/** Sums of float32 factors, in float64 here and in float32 there. */
const DELTAS = 1e-5;

interface Answer {
  logits: number[];
  deltas: Record<string, number[]>[];
}

const base = fileURLToPath(new URL('./fixtures/mistral-nemo-shape', import.meta.url));
const script = fileURLToPath(new URL('./peft-adapters.py', import.meta.url));

async function askPeft(question: object): Promise<Answer> {
  const { stdout } = await promisify(execFile)(python, [script, base, JSON.stringify(question)], {
    maxBuffer: 2 ** 28,
  });
  return JSON.parse(stdout) as Answer;
}

describe.skipIf(python === '')('PEFT', () => {
  let directory: string;
  let model: CausalLm;
  let adapters: Adapters;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'peft-'));
    model = await loadModelDirectory(base);
    adapters = new Adapters(model);
  });
  afterEach(async () => {
    model.dispose();
    await rm(directory, { recursive: true });
  });

  /** Adapters as training leaves them, here and in folders. */
  async function addAdapters(settings: Record<string, Partial<LoraConfig>>): Promise<Record<string, string>> {
    const folders: Record<string, string> = {};
    for (const [i, [name, changes]] of Object.entries(settings).entries()) {
      const adapter = adapters.add(name, changes, i);
      for (const [j, factor] of [...adapter.parameters().values()].entries())
        tf.tidy(() => factor.assign(tf.add(factor, tf.randomNormal(factor.shape, 0, 0.1, 'float32', 97 * i + j + 1))));
      folders[name] = join(directory, name);
      await saveAdapter(adapter, folders[name], base);
    }
    return folders;
  }

  it('computes the same logits for a batch whose rows use different adapters', async () => {
    const folders = await addAdapters({
      warm: { r: 2, loraAlpha: 4 },
      calm: { r: 3, targetModules: ['1.self_attn.q_proj', 'v_proj'], useRslora: true },
      short: { r: 5, targetModules: ['o_proj'], rankPattern: { '0.self_attn.o_proj': 1 } },
    });
    const batch = [
      [42, 37, 52, 34, 60],
      [55, 31, 7, 11, 13],
      [42, 37, 52, 34, 60],
      [3, 5, 8, 13, 21],
      [42, 37, 52, 34, 60],
    ];
    const rows = ['warm', 'calm', null, 'short', 'warm'];
    const { logits: expected } = await askPeft({ adapters: folders, batch, rows, combine: [] });
    const logits = tf.tidy(() =>
      tf.reshape(model.forward(tf.tensor2d(batch, [5, 5], 'int32'), { adapters: rows }).logits, [-1]),
    );
    await expectClose(logits, expected, LOGITS);
    logits.dispose();
  }, 120_000);

  it('combines adapters into the same', async () => {
    const folders = await addAdapters({
      warm: { r: 2, loraAlpha: 4 },
      calm: { r: 2, loraAlpha: 3, targetModules: ['q_proj', 'v_proj'] },
      wide: { r: 3, useRslora: true, targetModules: ['1.self_attn.q_proj', 'o_proj'] },
    });
    const [equal, all] = [
      { warm: 0.7, calm: -1.3 },
      { warm: 0.7, calm: -1.3, wide: 0.4 },
    ];
    const cases: [Record<string, number>, Combination][] = [
      [equal, { type: 'linear' }],
      [{ warm: -0.5 }, { type: 'linear' }],
      [all, { type: 'cat' }],
      [all, { type: 'svd' }],
      [all, { type: 'svd', rank: 2 }],
      [equal, { type: 'svd', rank: 5 }],
      [equal, { type: 'ties', density: 0.6 }],
      [equal, { type: 'ties', density: 0.3, majoritySign: 'frequency' }],
      [equal, { type: 'dare_linear', density: 1, seed: 1 }],
    ];
    const combine = cases.map(([weights, how]) => ({
      adapters: Object.keys(weights),
      weights: Object.values(weights),
      combination_type: how.type,
      ...('density' in how && { density: how.density }),
      ...('rank' in how && { svd_rank: how.rank }),
      ...('majoritySign' in how && { majority_sign_method: how.majoritySign }),
    }));
    const { deltas } = await askPeft({ adapters: folders, combine });
    for (const [i, [weights, how]] of cases.entries()) {
      const { layers } = await adapters.combine(`combined${i}`, weights, how);
      expect([...layers.keys()].sort()).toEqual(Object.keys(deltas[i]!).sort());
      for (const [path, update] of layers) {
        const delta = tf.tidy(() => tf.reshape(update.delta(), [-1]));
        await expectClose(delta, deltas[i]![path]!, DELTAS);
        delta.dispose();
      }
    }
  }, 120_000);
});
