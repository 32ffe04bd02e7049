import * as tf from '@tensorflow/tfjs-core';
import { recordRouting } from '@therapeutic-moe/router';
import { describeOnBackends, expectClose } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { mixtures } from '../test/mixtures.js';
import { paddedBatch } from '../test/padded-batch.js';
import { logitsOf, tinyModel } from '../test/tiny-model.js';
import { writeAndRead } from '../test/write-and-read.js';
import { type CausalLm, countParameters, pruneModel, resolveConfig, trainable } from './index.js';
import { bufferShapes, parameterShapes } from './parameter-shapes.js';

/** float32 sums in another order, through five layers of weights of deviation 0.5. */
const LOGIT = 1e-4;
const ids = [3, 1, 4, 1, 5, 9, 2, 6];

/** Layers 1 and 3 of five hold a mixture; q, k and v have biases. */
const mixedModel = (mixture = mixtures['top-k of SwiGLU experts']!) =>
  tinyModel({
    hiddenSize: 10,
    intermediateSize: 14,
    numHiddenLayers: 5,
    qkvBias: true,
    mixture: { ...mixture, layers: [1, 3], moeIntermediateSize: 7 },
  });

const batchOf = () => paddedBatch(0, (token) => token % 6);

function spoil(model: CausalLm, path: string, value: number): void {
  const variable = model.parameters().get(path)!;
  tf.tidy(() => variable.assign(tf.add(variable, tf.fill(variable.shape, value))));
}

describeOnBackends('a model with dense layers between mixtures', (backend) => {
  const slow = backend === 'webgpu';

  it.skipIf(slow)('has the variables that its config tells, whatever the mixture, and as many numbers', () => {
    for (const mixture of Object.values(mixtures)) {
      const model = mixedModel(mixture);
      const shapes = (variables: Map<string, { shape: readonly number[] }>) =>
        [...variables].map(([path, { shape }]) => `${path} [${shape}]`).sort();
      expect(shapes(model.parameters())).toEqual(shapes(parameterShapes(model.config)));
      expect(shapes(model.buffers())).toEqual(shapes(bufferShapes(model.config)));
      const sizes = [...model.parameters().values()].map(({ size }) => size);
      expect(countParameters(model.config).total).toBe(sizes.reduce((a, b) => a + b));
      expect(model.mixtures()).toHaveLength(2);
      model.dispose();
    }
  });

  it('counts of every stack the k experts of a token, and dense layers whole', () => {
    const model = mixedModel();
    const { total, activePerToken } = countParameters(model.config);
    expect(total - activePerToken).toBe(2 * 4 * 3 * 10 * 7);
    expect(model.parameters().get('model.layers.0.mlp.gate_up_proj.weight')!.shape).toEqual([10, 28]);
    expect(model.parameters().get('model.layers.1.block_sparse_moe.experts.gate_up_proj')!.shape).toEqual([6, 10, 14]);
    expect(model.parameters().get('model.layers.1.self_attn.k_proj.bias')!.shape).toEqual([12]);
    model.dispose();
  });

  it('starts with biases of zero, and adds them to q, k and v', async () => {
    const model = mixedModel();
    const plain = await logitsOf(model, ids);
    for (const name of ['q_proj', 'k_proj', 'v_proj']) {
      const before = model.parameters().get(`model.layers.0.self_attn.${name}.bias`)!;
      expect([...(await before.data())].every((value) => value === 0)).toBe(true);
      spoil(model, `model.layers.0.self_attn.${name}.bias`, 0.5);
    }
    const moved = await logitsOf(model, ids);
    expect(Math.max(...moved.map((value, i) => Math.abs(value - plain[i]!)))).toBeGreaterThan(0.01);
    expect(model.parameters().has('model.layers.0.self_attn.o_proj.bias')).toBe(false);
    model.dispose();
  });

  it('decodes what one pass gives, and counts the visits of the layers that have experts', async () => {
    const model = mixedModel();
    const text = slow ? ids.slice(0, 3) : ids;
    const whole = await logitsOf(model, text);
    const session = model.createSession();
    for (const [i, id] of text.entries()) {
      const { logits, expertCounts } = await session.append([id]);
      await expectClose(logits, whole.slice(i * 13, (i + 1) * 13), LOGIT);
      expect(expertCounts.reduce((a, b) => a + b)).toBe(2 * 2);
    }
    session.dispose();
    model.dispose();
  });

  it('gives one routing per mixture, records and repeats them, and names true layers', async () => {
    const model = mixedModel();
    const batch = tf.tensor2d([ids], [1, 8], 'int32');
    const first = model.forward(batch);
    expect(first.routings).toHaveLength(2);
    const replay = await recordRouting(first.routings);
    const again = model.forward(batch, { replay });
    await expectClose(again.logits, (await first.logits.data()) as Float32Array, LOGIT);
    expect(() => model.forward(batch, { replay: replay.slice(0, 1) })).toThrow('the choices of 2 layers, got 1');
    const [one, two] = replay as [(typeof replay)[number], (typeof replay)[number]];
    expect(() => model.forward(batch, { replay: [one, { ...two, numExperts: 7 }] })).toThrow('replay of layer 3 chose');
    const broken = { ...two, indices: two.indices.map(() => 0) };
    expect(() => model.forward(batch, { replay: [one, broken] })).toThrow(
      'model.layers.3: replayTensor: layer 3 sends token 0 to expert 0 twice.',
    );
    for (const { logits, routings } of [first, again]) tf.dispose([logits, ...routings]);
    batch.dispose();
    model.dispose();
  });

  it('names the layer whose gate is not finite, decoding and training', async () => {
    const model = mixedModel();
    spoil(model, 'model.layers.3.block_sparse_moe.gate.weight', Number.NaN);
    const session = model.createSession();
    await expect(session.append(ids)).rejects.toThrow(/^model\.layers\.3: .*gate is not finite/);
    session.dispose();
    const { checkMetrics } = trainable(model, { klBalance: 0, zLoss: 0, domainSupervision: 0 });
    expect(() => checkMetrics({ gateMeanByLayer: [0, Number.NaN] })).toThrow('model.layers.3:');
    model.dispose();
  });

  it.skipIf(slow)('trains every variable, and balances the layers that have a bias', async () => {
    const model = mixedModel({ ...mixtures['top-k of SwiGLU experts']!, balanceBias: true });
    const step = trainable(model, { klBalance: 0.01, zLoss: 0.001, domainSupervision: 0.1, biasUpdateRate: 0.5 });
    const variables = step.parameters();
    const { grads, value } = tf.variableGrads(
      () => step.loss(batchOf(), { tokensInStep: 10 }).total,
      [...variables.values()],
    );
    expect(Object.keys(grads)).toHaveLength(variables.size);
    const load = [0.5, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.5];
    step.afterStep({ expertLoadByLayer: load });
    const [one, three] = await Promise.all([...model.buffers().values()].map((bias) => bias.data()));
    expect([...model.buffers().keys()][1]).toBe('model.layers.3.block_sparse_moe.gate.e_score_correction_bias');
    expect([one![0], three![5]]).toEqual([-0.5, -0.5]);
    tf.dispose([grads, value]);
    model.dispose();
  });

  it.skipIf(slow)('prunes the experts of its mixtures and nothing else', async () => {
    const model = mixedModel();
    const load = [
      [5, 1, 3, 9, 8, 7],
      [1, 2, 3, 0, 0, 1],
    ];
    const { model: pruned, kept } = pruneModel(model, load, 3);
    expect(kept).toEqual([
      [3, 4, 5],
      [0, 1, 2],
    ]);
    const of = (one: CausalLm, path: string) => one.parameters().get(`model.layers.${path}`)!.data();
    const [old, few] = await Promise.all(
      [model, pruned].map((one) => of(one, '3.block_sparse_moe.experts.gate_up_proj')),
    );
    expect(few).toEqual(old!.slice(0, 3 * 140));
    expect(await of(pruned, '2.mlp.down_proj.weight')).toEqual(await of(model, '2.mlp.down_proj.weight'));
    expect(() => pruneModel(model, [load[0]!, [1]], 3)).toThrow('load of layer 3 must be 6 counts');
    expect(() => pruneModel(model, [...load, ...load], 3)).toThrow('one list for each of 2 layers, got 4');
    pruned.dispose();
    model.dispose();
  });

  it.skipIf(slow)('comes back from a folder as it was', async () => {
    const model = mixedModel();
    spoil(model, 'model.layers.2.self_attn.v_proj.bias', 0.5);
    const { loaded } = await writeAndRead(model);
    expect(loaded.config).toEqual(model.config);
    await expectClose(await logitsOf(loaded, ids), await logitsOf(model, ids), LOGIT);
    loaded.dispose();
    model.dispose();
  });

  it.skipIf(backend !== 'wasm')(
    'decodes in one kernel what is plain: dense layers and mixtures side by side',
    async () => {
      const model = tinyModel({
        numHiddenLayers: 3,
        mixture: {
          numExperts: 3,
          numExpertsPerTok: 2,
          softmaxOrder: 'before-top-k',
          normTopkProb: true,
          layers: [1],
          moeIntermediateSize: 11,
        },
      });
      const whole = await logitsOf(model, ids);
      const session = model.createSession();
      await session.append(ids.slice(0, 7));
      let step: Float32Array | undefined;
      const { kernels } = await tf.profile(async () => {
        step = (await session.append(ids.slice(7))).logits;
        return [];
      });
      expect(kernels.filter(({ name }) => name === 'DecodeLayer')).toHaveLength(3);
      await expectClose(step!, whole.slice(7 * 13), LOGIT);
      session.dispose();
      model.dispose();
    },
  );
});

const required = { vocabSize: 13, hiddenSize: 10, intermediateSize: 7, numHiddenLayers: 3, numAttentionHeads: 5 };
const mixture = { numExperts: 3, numExpertsPerTok: 2, softmaxOrder: 'before-top-k', normTopkProb: true } as const;

it('leaves what is absent out of a config', () => {
  const config = resolveConfig({ ...required, mixture });
  expect(Object.keys(config)).not.toContain('qkvBias');
  expect(Object.keys(config.mixture!)).toEqual(['numExperts', 'numExpertsPerTok', 'softmaxOrder', 'normTopkProb']);
});

it.each<[Record<string, unknown>, string]>([
  [{ qkvBias: 1 }, 'model config: qkvBias must be true or false, got 1.'],
  [
    { mixture: { ...mixture, layers: [] } },
    'mixture.layers must be a list of layer numbers, got []; leave it out for every layer, or mixture for none.',
  ],
  [{ mixture: { ...mixture, layers: 2 } }, 'mixture.layers must be a list of layer numbers, got 2'],
  [{ mixture: { ...mixture, layers: [1, 3] } }, 'mixture.layers names 3, but numHiddenLayers is 3; layers are 0 to 2.'],
  [{ mixture: { ...mixture, layers: ['1'] } }, 'mixture.layers names "1"'],
  [{ mixture: { ...mixture, layers: [2, 0] } }, 'mixture.layers must ascend, each layer once, got 0 after 2.'],
  [{ mixture: { ...mixture, layers: [1, 1] } }, 'mixture.layers must ascend, each layer once, got 1 after 1.'],
  [
    { mixture: { ...mixture, moeIntermediateSize: 0 } },
    'mixture: moeIntermediateSize must be a whole number of 1 or more, got 0.',
  ],
  [
    { mixture: { ...mixture, moeIntermediateSize: 9, experts: { kind: 'transformer', numAttentionHeads: 7 } } },
    'experts.numAttentionHeads is 7 but moeIntermediateSize is 9; it must divide it.',
  ],
])('refuses %j', (change, message) => {
  expect(() => resolveConfig({ ...required, ...change })).toThrow(message);
});
