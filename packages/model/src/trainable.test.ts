import * as tf from '@tensorflow/tfjs-core';
import { Adapters, attachLora } from '@therapeutic-moe/lora';
import { describeOnBackends, expectClose, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { logitsOf, tinyModel } from '../test/tiny-model.js';
import { type AuxiliaryWeights, type TokenBatch, type TrainableModel, trainable } from './index.js';

/** float32 sums in another order. */
const SUM = 2e-5;
/** Of the central difference: so small that no token changes its expert. */
const STEP = 2e-3;

const allLosses: AuxiliaryWeights = { klBalance: 0.7, zLoss: 0.05, domainSupervision: 0.3 };
const none: AuxiliaryWeights = { klBalance: 0, zLoss: 0, domainSupervision: 0 };
const SEQ = 5;

/** Rows of made-up tokens, all real, all counted, each with a domain. */
function createBatch(rows: number, first = 0): TokenBatch {
  const numbers = (f: (i: number) => number) => Int32Array.from({ length: rows * SEQ }, (_, i) => f(first * SEQ + i));
  return {
    batch: rows,
    seq: SEQ,
    ids: numbers((i) => (7 * i + i * i) % 13),
    targets: numbers((i) => (5 * i + 3) % 13),
    mask: new Uint8Array(rows * SEQ).fill(1),
    domains: numbers((i) => i % 3),
  };
}

/** The same rows with padding after them. */
function pad(batch: TokenBatch, seq: number): TokenBatch {
  const widen = <T extends Int32Array | Uint8Array>(array: T, filler: number): T => {
    const wide = new (array.constructor as new (length: number) => T)(batch.batch * seq).fill(filler) as T;
    for (let row = 0; row < batch.batch; row++) wide.set(array.slice(row * SEQ, (row + 1) * SEQ), row * seq);
    return wide;
  };
  const { ids, targets, mask, domains } = batch;
  return {
    batch: batch.batch,
    seq,
    ids: widen(ids, 0),
    targets: widen(targets, -100),
    mask: widen(mask, 0),
    domains: widen(domains, -1),
  };
}

const countOf = ({ targets }: TokenBatch) => targets.filter((target) => target >= 0).length;

/** Total loss and the gradients of everything trainable, by path. */
async function gradientsOf(target: TrainableModel, batch: TokenBatch, tokensInStep = countOf(batch)) {
  const parameters = target.parameters();
  const { value, grads } = tf.variableGrads(
    () => target.loss(batch, { tokensInStep, seed: 1 }).total,
    [...parameters.values()],
  );
  const [total] = await value.data();
  const gradients = new Map<string, Float32Array>();
  for (const [path, { name }] of parameters) gradients.set(path, await grads[name]!.data<'float32'>());
  tf.dispose([value, grads]);
  return { total: total!, gradients };
}

async function expectSameGradients(a: Map<string, Float32Array>, b: Map<string, Float32Array>): Promise<void> {
  expect([...a.keys()]).toEqual([...b.keys()]);
  for (const [path, gradient] of a) await expectClose(gradient, b.get(path)!, SUM);
}

function add(a: Map<string, Float32Array>, b: Map<string, Float32Array>): Map<string, Float32Array> {
  return new Map([...a].map(([path, gradient]) => [path, gradient.map((x, i) => x + b.get(path)![i]!)]));
}

describeOnBackends('trainable', (backend) => {
  const slow = backend === 'webgpu'; // SwiftShader takes seconds for each step: there fewer of them

  it('measures the mean cross-entropy of the counted targets', async () => {
    const model = tinyModel();
    const batch = createBatch(1);
    batch.targets[1] = -100;
    const logits = await logitsOf(model, [...batch.ids]);
    const nats = [0, 2, 3, 4].map((p) => {
      const row = logits.slice(p * 13, (p + 1) * 13);
      return Math.log(row.reduce((sum, logit) => sum + Math.exp(logit), 0)) - row[batch.targets[p]!]!;
    });
    const sum = nats.reduce((a, b) => a + b);
    const { total, metrics } = trainable(model, none).loss(batch, { tokensInStep: 4, seed: 1 });
    await expectClose(total, [sum / 4], SUM);
    await expectClose(metrics.crossEntropySum!, [sum], SUM);
    tf.dispose([total, metrics]);
    model.dispose();
  });

  it('has gradients that agree with central differences, all losses together', async () => {
    const model = tinyModel();
    const target = trainable(model, allLosses);
    const batch = createBatch(2);
    const { gradients } = await gradientsOf(target, batch);
    const lossNow = async () => {
      const { total, metrics } = target.loss(batch, { tokensInStep: 10, seed: 1 });
      const [value] = await total.data();
      tf.dispose([total, metrics]);
      return value!;
    };
    const checked = [
      ['model.embed_tokens.weight', 8],
      ['model.layers.0.block_sparse_moe.gate.weight', 7],
      ['model.layers.0.input_layernorm.weight', 3],
      ['model.layers.0.self_attn.q_proj.weight', 41],
      ['model.layers.1.self_attn.v_proj.weight', 17],
      ['model.layers.1.block_sparse_moe.gate.weight', 4],
      ['model.layers.0.block_sparse_moe.experts.gate_up_proj', 100],
      ['model.layers.1.block_sparse_moe.experts.down_proj', 50],
      ['lm_head.weight', 20],
    ] as const;
    for (const [path, at] of slow ? checked.slice(0, 2) : checked) {
      const variable = model.parameters().get(path)!;
      const values = Float32Array.from(await variable.data());
      const lossAt = async (change: number) => {
        tf.tidy(() => variable.assign(tf.tensor(values.with(at, values[at]! + change), variable.shape)));
        return lossNow();
      };
      const slope = ((await lossAt(STEP)) - (await lossAt(-STEP))) / (2 * STEP);
      await lossAt(0);
      expect(gradients.get(path)![at], path).toBeCloseTo(slope, 3);
    }
    expect(Math.max(...gradients.get('model.layers.0.block_sparse_moe.gate.weight')!.map(Math.abs))).toBeGreaterThan(
      0.01,
    );
    model.dispose();
  });

  it('gives micro-batches whose gradients add up to those of one big batch', async () => {
    const model = tinyModel();
    for (const weights of slow ? [{ ...allLosses, klBalance: 0 }] : [none, { ...allLosses, klBalance: 0 }]) {
      const target = trainable(model, weights);
      const whole = await gradientsOf(target, createBatch(4));
      const first = await gradientsOf(target, createBatch(1), 20);
      const rest = await gradientsOf(target, createBatch(3, 1), 20);
      expect(first.total + rest.total).toBeCloseTo(whole.total, 5);
      await expectSameGradients(add(first.gradients, rest.gradients), whole.gradients);
    }
    model.dispose();
  });

  it.skipIf(slow)('adds micro-batches up by their counted tokens, not by their number', async () => {
    const model = tinyModel();
    const target = trainable(model, none);
    const [whole, first, rest] = [createBatch(3), createBatch(1), createBatch(2, 1)];
    for (const [batch, at] of [
      [whole, 0],
      [first, 0],
    ] as const) {
      batch.targets.fill(-100, at, at + 3);
    }
    const [big, small, other] = [
      await gradientsOf(target, whole, 12),
      await gradientsOf(target, first, 12),
      await gradientsOf(target, rest, 12),
    ];
    await expectSameGradients(add(small.gradients, other.gradients), big.gradients);
    model.dispose();
  });

  it('is blind to padding, in every loss and gradient', async () => {
    const model = tinyModel();
    const target = trainable(model, allLosses);
    const [plain, padded] = [
      await gradientsOf(target, createBatch(2)),
      await gradientsOf(target, pad(createBatch(2), 11)),
    ];
    expect(padded.total).toBeCloseTo(plain.total, 5);
    await expectSameGradients(padded.gradients, plain.gradients);
    model.dispose();
  });

  it('trains only the factors of an adapter', async () => {
    const model = tinyModel();
    const adapter = attachLora(model, { r: 2, targetModules: ['q_proj', 'v_proj'] }, 1);
    const target = trainable(model, none, adapter);
    expect([...target.parameters().keys()].every((path) => /lora_[AB]$/.test(path))).toBe(true);
    const { gradients } = await gradientsOf(target, createBatch(2));
    expect(gradients.size).toBe(2 * 2 * 2);
    const largest = Math.max(...[...gradients.values()].flatMap((gradient) => [...gradient.map(Math.abs)]));
    expect(largest).toBeGreaterThan(0);
    model.dispose();
  });

  it('refuses an adapter whose factors take no part in a pass, with the way out', () => {
    const model = tinyModel();
    const [adapter, adapters] = [attachLora(model, { r: 2 }, 1), new Adapters(model)];
    const [target, batch] = [trainable(model, none, adapter), createBatch(1)];
    const loss = () => tf.tidy(() => tf.variableGrads(() => target.loss(batch, { tokensInStep: 5, seed: 1 }).total));
    adapters.use();
    expect(loss).toThrow("adapter 'default' is switched off or not on this model");
    expect(loss).toThrow("switch it on with Adapters.use('default').");
    adapters.use('default');
    adapter.merge();
    expect(loss).toThrow(
      "adapter 'default' is merged into the base, so its factors take no part in a pass; unmerge it",
    );
    adapter.unmerge();
    expect(loss).not.toThrow();
    model.dispose();
  });

  it('reports load and entropy of real tokens, and nothing to report for a dense model', async () => {
    const [model, dense] = [tinyModel(), tinyModel({ mixture: undefined })];
    const { total, metrics } = trainable(model, allLosses).loss(pad(createBatch(2), 7), { tokensInStep: 10, seed: 1 });
    const byLayer = ['balanceByLayer', 'domainByLayer', 'expertLoadByLayer', 'gateMeanByLayer', 'zByLayer'];
    expect(Object.keys(metrics).sort()).toEqual(
      ['balance', 'crossEntropySum', 'domain', 'expertLoad', 'routingEntropy', 'z', ...byLayer].sort(),
    );
    for (const [mean, layers] of [
      ['balance', 'balanceByLayer'],
      ['z', 'zByLayer'],
    ] as const) {
      const [a, b] = await metrics[layers]!.data();
      expect((await metrics[mean]!.data())[0]).toBeCloseTo((a! + b!) / 2, 5);
    }
    const load = await metrics.expertLoad!.data<'float32'>();
    expect(load.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 5);
    expect((await metrics.routingEntropy!.data())[0]).toBeLessThanOrEqual(Math.log(3) + 1e-6);
    const plain = trainable(dense, allLosses).loss(createBatch(2), { tokensInStep: 10, seed: 1 });
    expect(Object.keys(plain.metrics)).toEqual(['crossEntropySum']);
    tf.dispose([total, metrics, plain.total, plain.metrics]);
    model.dispose();
    dense.dispose();
  });

  it('keeps the number of tensors constant over steps', async () => {
    const model = tinyModel();
    const target = trainable(model, allLosses);
    await expectNoLeak(() => gradientsOf(target, createBatch(2)));
    model.dispose();
  });

  it('refuses batches that do not fit, by their words', () => {
    const model = tinyModel();
    const target = trainable(model, allLosses);
    const refuses = (change: Partial<TokenBatch>, message: string, tokensInStep = 10) =>
      expect(() => target.loss({ ...createBatch(2), ...change }, { tokensInStep, seed: 1 })).toThrow(message);
    const withOne = (value: number) => new Int32Array(10).with(3, value);
    refuses({ ids: new Int32Array(7) }, 'trainable.loss: ids must have batch * seq = 10 entries, got 7.');
    refuses({ ids: withOne(13) }, 'trainable.loss: id 13 at 3 is outside the vocabulary of 13.');
    refuses({ ids: withOne(-1) }, 'trainable.loss: id -1 at 3 is outside the vocabulary of 13.');
    refuses({ targets: withOne(13) }, 'trainable.loss: target 13 at 3 is outside the vocabulary of 13.');
    refuses({ domains: withOne(3) }, 'trainable.loss: domain 3 at 3 has no expert; there are 3.');
    refuses({}, 'trainable.loss: tokensInStep must be above 0, got 0', 0);
    model.dispose();
  });
});
