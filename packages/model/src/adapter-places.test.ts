import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import {
  Adapters,
  attachLora,
  attachLoraFromBase,
  detachLora,
  type LoraAdapter,
  mergeLora,
} from '@therapeutic-moe/lora';
import { describeOnBackends, expectClose } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { logitsOf, tinyConfig, tinyModel } from '../test/tiny-model.js';
import { type CausalLm, pruneModel, saveModelDirectory, trainable } from './index.js';

/** Logits of float32 products in another order. */
const ROUNDING = 1e-4;

const ids = [3, 1, 4, 1, 5, 9, 2];
const { mixture } = tinyConfig();
/** A dense layer and one with a mixture and a shared expert. */
const mixed = { mixture: { ...mixture!, layers: [1], sharedExpert: { intermediateSize: 11, gate: true } } };
const everywhere = {
  r: 2,
  loraAlpha: 3,
  targetModules: ['q_proj', 'gate_proj', 'up_proj', 'down_proj', 'shared_expert_gate', 'lm_head'],
  targetParameters: ['experts.gate_up_proj', 'experts.down_proj'],
};

function change(adapter: LoraAdapter): LoraAdapter {
  for (const [i, factor] of [...adapter.parameters().values()].entries())
    tf.tidy(() => factor.assign(tf.add(factor, tf.randomNormal(factor.shape, 0, 0.3, 'float32', i + 1))));
  return adapter;
}

async function expectLogits(model: CausalLm, expected: Float32Array): Promise<void> {
  const found = await logitsOf(model, ids);
  await expectClose(found, expected, ROUNDING);
}

describeOnBackends('an adapter on every part of a model', () => {
  it('changes nothing while fresh, and is the same beside, merged, one token at a time and for good', async () => {
    const model = tinyModel(mixed);
    const before = await logitsOf(model, ids);
    const adapter = attachLora(model, everywhere, 1);
    await expectLogits(model, before);
    change(adapter);
    const beside = await logitsOf(model, ids);
    expect(Math.max(...beside.map((value, i) => Math.abs(value - before[i]!)))).toBeGreaterThan(0.1);
    const session = model.createSession();
    for (const id of ids.slice(0, -1)) await session.append([id]);
    const { logits } = await session.append(ids.slice(-1));
    await expectClose(logits, beside.slice(-logits.length), ROUNDING);
    session.dispose();
    adapter.merge();
    await expectLogits(model, beside);
    adapter.unmerge();
    detachLora(model, adapter);
    expect(await logitsOf(model, ids)).toEqual(before);
    mergeLora(model, change(attachLora(model, everywhere, 1)));
    await expectLogits(model, beside);
    model.dispose();
  });

  it('trains all of its factors and nothing else', async () => {
    const model = tinyModel(mixed);
    const adapter = change(attachLora(model, everywhere, 1));
    const target = trainable(model, { klBalance: 0.01, zLoss: 0.001, domainSupervision: 0, domainBalance: 0 }, adapter);
    const batch = {
      ...{ batch: 1, seq: ids.length, ids: Int32Array.from(ids), targets: Int32Array.from([...ids.slice(1), -1]) },
      ...{ mask: new Uint8Array(ids.length).fill(1), domains: new Int32Array(ids.length).fill(-1) },
    };
    const variables = [...target.parameters().values()];
    const { value, grads } = tf.variableGrads(() => target.loss(batch, { tokensInStep: 6, seed: 7 }).total, variables);
    expect(Object.keys(grads).sort()).toEqual(variables.map(({ name }) => name).sort());
    for (const gradient of Object.values(grads))
      expect((await gradient.data()).some((entry) => entry !== 0)).toBe(true);
    tf.dispose([value, grads]);
    model.dispose();
  });

  it.each(['pissa', 'pissa_niter_2', 'olora'] as const)(
    'that starts from the base by %s gives the logits of the base',
    async (initLoraWeights) => {
      const model = tinyModel(mixed);
      const before = await logitsOf(model, ids);
      const settings = { r: 1, loraAlpha: 3, targetModules: 'all-linear', initLoraWeights };
      const adapter = await attachLoraFromBase(model, settings, 1);
      await expectLogits(model, before);
      detachLora(model, adapter);
      expect(await logitsOf(model, ids)).toEqual(before);
      model.dispose();
    },
  );

  it('on experts is chosen for all rows of a batch or for none, whatever is switched on, and not once it is merged', async () => {
    const model = tinyModel();
    const plain = await logitsOf(model, ids);
    const adapter = change(attachLora(model, { ...everywhere, targetModules: [] }, 1, 'experts'));
    const adapted = await logitsOf(model, ids);
    const input = tf.tensor2d([ids, ids], [2, ids.length], 'int32');
    const logitsBy = async (adapters: (string | null)[]) => {
      const { logits } = tf.tidy(() => ({ logits: model.forward(input, { adapters }).logits }));
      return [...(await tf.tidy(() => tf.slice(logits, [1, 0, 0])).data())];
    };
    for (const active of [['experts'], []]) {
      new Adapters(model).use(...active);
      await expectClose(await logitsBy(['experts', 'experts']), adapted, ROUNDING);
      await expectClose(await logitsBy([null, null]), plain, ROUNDING);
      await expect(logitsBy(['experts', null])).rejects.toThrow("'experts' adapts stacks of experts");
    }
    adapter.merge();
    await expect(logitsBy([null, null])).rejects.toThrow("'experts' is merged into it; unmerge it first");
    input.dispose();
    model.dispose();
  });

  it('is refused where it would be lost', async () => {
    const model = tinyModel();
    attachLora(model, { ...everywhere, targetModules: [] }, 1, 'experts');
    const directory = await mkdtemp(join(tmpdir(), 'model-'));
    await expect(saveModelDirectory(model, directory)).rejects.toThrow(
      'model.layers.0.mlp.experts.gate_up_proj carries an adapter; save it with saveAdapter',
    );
    const load = [0, 1].map(() => [0.5, 0.3, 0.2]);
    expect(() => pruneModel(model, load, 2)).toThrow('model.layers.0.mlp.experts.gate_up_proj carries an adapter');
    expect(() => attachLora(tinyModel({ tieWordEmbeddings: true }), { targetModules: ['lm_head'] }, 1)).toThrow(
      'a head that shares the embedding is no linear of its own',
    );
    const stack = model.stacks().get('model.layers.0.mlp.experts.down_proj')!;
    expect(() => model.replaceStack('model.layers.0.mlp.experts.gate_up_proj', stack)).toThrow(
      'model.layers.0.mlp.experts.gate_up_proj must be [3,5,14], got [3,7,5].',
    );
    expect(() => model.replaceStack('model.layers.2.mlp', stack)).toThrow('there is no stack of experts at');
    model.dispose();
    await rm(directory, { recursive: true });
  });
});
