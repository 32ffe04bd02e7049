import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { attachLora, mergeLora } from '@therapeutic-moe/lora';
import { describeOnBackends, expectClose, expectNoLeak } from '@therapeutic-moe/test-kit';
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  type CausalLm,
  type ConfigOverrides,
  loadModelDirectory,
  pruneModel,
  saveModelDirectory,
  trainable,
} from '../src/index.js';
import { frozenShapes } from '../src/parameter-shapes.js';
import { thawedModel } from './thawed-model.js';
import { logitsOf, tinyModel } from './tiny-model.js';

/** float32 sums of the same products in another order. */
const SAME = 2e-5;

const layout = { softmaxOrder: 'before-top-k', normTopkProb: true } as const;
const mixture = { numExperts: 3, numExpertsPerTok: 2, ...layout } as const;
/** One model for each kind of part that holds weights; sizes are odd, so that rows end within a word. */
const kinds: Readonly<Record<string, ConfigOverrides>> = {
  'a mixture': {},
  'some layers dense, and a shared expert': {
    mixture: { ...mixture, layers: [1], moeIntermediateSize: 3, sharedExpert: { intermediateSize: 7, gate: true } },
  },
  'biases, learned positions and a tied head': {
    qkvBias: true,
    tieWordEmbeddings: true,
    positions: { kind: 'learned' },
  },
  'gelu experts': { mixture: { ...mixture, experts: { kind: 'gelu' } } },
  'specialised experts': { mixture: { ...mixture, experts: { kind: 'specialised', dropout: 0 } } },
  'experts with shared projections': { mixture: { ...mixture, experts: { kind: 'shared-projection' } } },
  'levels of attention': { attention: { kind: 'multi-level', window: 3, strides: [2] } },
  'domains of attention': { attention: { kind: 'domain', numDomains: 3, terms: 'projections', rank: 2 } },
};
const ids = [1, 4, 9, 3, 11];

describeOnBackends('a frozen model', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'frozen-'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  /** A tiny model from a folder, frozen. */
  async function frozen(
    overrides: ConfigOverrides,
    weights: 'bfloat16' | 'float16' | 'int8',
    dtype?: 'F32' | 'BF16',
  ): Promise<CausalLm> {
    const model = tinyModel(overrides);
    await saveModelDirectory(model, folder, { dtype });
    model.dispose();
    return loadModelDirectory(folder, { weights });
  }

  it.each(Object.keys(kinds))('is the model of its thawed weights: %s', async (name) => {
    for (const weights of ['bfloat16', 'int8'] as const) {
      const model = await frozen(kinds[name]!, weights);
      expect([...model.frozenWeights.keys()].sort()).toEqual([...frozenShapes(model.config).keys()].sort());
      const thawed = thawedModel(model);
      const held = [...model.parameters().keys(), ...model.frozenWeights.keys()];
      expect(held.sort()).toEqual([...thawed.parameters().keys()].sort());
      await expectClose(await logitsOf(model, ids), await logitsOf(thawed, ids), SAME);
      model.dispose();
      thawed.dispose();
    }
  });

  it('takes bfloat16 of a file as it is', async () => {
    const model = await frozen({}, 'bfloat16', 'BF16');
    const [thawed, plain] = [thawedModel(model), await loadModelDirectory(folder)];
    for (const [path, variable] of plain.parameters()) await expectClose(thawed.parameters().get(path)!, variable, 0);
    for (const each of [model, thawed, plain]) each.dispose();
  });

  it('decodes token by token what one pass gives', async () => {
    const model = await frozen({}, 'int8');
    const whole = await logitsOf(model, ids);
    const session = model.createSession();
    await session.append(ids.slice(0, 3));
    await session.append(ids.slice(3, 4));
    const { logits } = await session.append(ids.slice(4));
    await expectClose(tf.tensor1d(logits), whole.slice(-logits.length), SAME);
    session.dispose();
    model.dispose();
  });

  it.each(['bfloat16', 'float16', 'int8'] as const)(
    'trains an adapter with the gradients of its thawed weights: %s',
    async (weights) => {
      const model = await frozen({}, weights);
      const thawed = thawedModel(model);
      const none = { klBalance: 0, zLoss: 0, domainSupervision: 0 };
      const batch = {
        batch: 1,
        seq: ids.length,
        ids: Int32Array.from(ids),
        targets: Int32Array.from([4, 9, 3, 11, 2]),
        mask: new Uint8Array(ids.length).fill(1),
        domains: new Int32Array(ids.length).fill(-1),
      };
      const gradients: number[][] = [];
      for (const each of [model, thawed]) {
        const adapter = attachLora(each, { r: 2, targetModules: ['q_proj', 'v_proj', 'o_proj'] }, 7);
        for (const [i, factor] of [...adapter.parameters().values()].entries())
          tf.tidy(() => factor.assign(tf.randomNormal(factor.shape, 0, 0.3, 'float32', i + 1)));
        const target = trainable(each, none, adapter);
        const parameters = [...target.parameters().values()];
        const { value, grads } = tf.variableGrads(
          () => target.loss(batch, { tokensInStep: ids.length, seed: 1 }).total,
          parameters,
        );
        gradients.push(
          (await Promise.all(parameters.map(async ({ name }) => [...(await grads[name]!.data())]))).flat(),
        );
        tf.dispose([value, grads]);
      }
      expect(Math.max(...gradients[0]!.map(Math.abs))).toBeGreaterThan(1e-3);
      await expectClose(tf.tensor1d(gradients[0]!), gradients[1]!, SAME);
      model.dispose();
      thawed.dispose();
    },
  );

  it('is refused where its weights would have to change, with the way out', async () => {
    const model = await frozen({}, 'int8');
    const none = { klBalance: 0, zLoss: 0, domainSupervision: 0 };
    expect(() => trainable(model, none)).toThrow('frozen in fewer bytes and cannot be trained; train an adapter on it');
    expect(() => pruneModel(model, [], 2)).toThrow('load the model with float32 weights');
    await expect(saveModelDirectory(model, folder)).rejects.toThrow('copy the folder that they came from');
    const adapter = attachLora(model, { r: 2, targetModules: ['q_proj'] }, 7);
    expect(() => mergeLora(model, adapter)).toThrow('load the model in float32 to merge');
    model.dispose();
  });

  it('is loaded and disposed without leaving a tensor, also where a file breaks off', async () => {
    await frozen({}, 'float16').then((model) => model.dispose());
    await expectNoLeak(async () => (await loadModelDirectory(folder, { weights: 'float16' })).dispose());
    await expectNoLeak(async () => {
      // float16 ends at 65,504: the load fails after some weights are on the device.
      const model = tinyModel();
      tf.tidy(() => {
        const last = model.parameters().get('lm_head.weight')!;
        last.assign(tf.fill(last.shape, 1e6));
      });
      await saveModelDirectory(model, folder);
      model.dispose();
      await expect(loadModelDirectory(folder, { weights: 'float16' })).rejects.toThrow('too large for float16');
    });
  });
});
