import * as tf from '@tensorflow/tfjs-core';
import { Linear } from '@therapeutic-moe/nn';
import { describeOnBackends, expectClose, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { type AdapterSwitch, type ColumnRange, type LoraLayerConfig, LoraLinear, LoraUpdate } from './index.js';

/** What orders of the same sums may differ by. */
const ROUNDING = 1e-5;

const config: LoraLayerConfig = { r: 2, scale: 3, loraDropout: 0, useDora: false, initLoraWeights: true };
/** Sequences of a batch: two of one adapter that are not neighbours, one of none, one of an adapter that has two halves. */
const sequences = ['warm', null, 'halves', 'warm', 'dora'] as const;

/** A linear of 5 to 11 columns with adapters of other ranks, scales and columns. */
function createLayer(loraDropout = 0): LoraLinear {
  const state: AdapterSwitch = { adapters: new Map(), active: [] };
  const layer = new LoraLinear(Linear.create(5, 11, { bias: true, seed: 1 }), state);
  const add = (name: string, changes: Partial<LoraLayerConfig>, seed: number, columns?: ColumnRange) => {
    const update = new LoraUpdate(name, layer.base, { ...config, ...changes, loraDropout }, seed, columns);
    layer.add(update);
    for (const factor of update.factors().values())
      tf.tidy(() => factor.assign(tf.add(factor, tf.randomNormal(factor.shape, 0, 0.5, 'float32', seed))));
  };
  add('warm', {}, 1);
  add('halves', { r: 3, scale: 0.5 }, 2, { start: 0, size: 4 });
  add('halves', { r: 1, useDora: true }, 3, { start: 4, size: 7 });
  add('dora', { r: 2, scale: 2, useDora: true }, 4);
  tf.tidy(() => (layer.base as Linear).bias!.assign(tf.randomNormal([11], 0, 1, 'float32', 8)));
  return layer;
}

const input = () => tf.randomNormal([5, 3, 5], 0, 1, 'float32', 2);
const trainedOf = (layer: LoraLinear) =>
  [...layer.updates].flatMap((update) => [...update.factors().values()]) as tf.Variable[];

/** The plain way: each sequence alone, its adapter switched on. */
function oneByOne(layer: LoraLinear, x: tf.Tensor): tf.Tensor {
  const rows = sequences.map((name, i) => {
    layer.adapterSwitch.active = name ? [name] : [];
    return layer.apply(tf.slice(x, [i, 0, 0], [1, -1, -1]));
  });
  return tf.concat(rows, 0);
}

describeOnBackends('LoraLinear by row', () => {
  it('gives each sequence of a batch what its adapter alone gives, with the same gradients', async () => {
    const [layer, x, weights] = [createLayer(), input(), tf.randomNormal([5, 3, 11], 0, 1, 'float32', 4)];
    const trained = trainedOf(layer);
    const [expected, together] = [() => oneByOne(layer, x), () => layer.apply(x, { adapters: sequences })].map(
      (apply) => {
        const { value, grads } = tf.variableGrads(() => tf.sum(tf.mul(apply(), weights)) as tf.Scalar, trained);
        return { value, grads, output: tf.tidy(apply) };
      },
    );
    await expectClose(together!.output, expected!.output, ROUNDING);
    for (const { name } of trained) await expectClose(together!.grads[name]!, expected!.grads[name]!, 1e-4);
    const toInput = [() => oneByOne(layer, x), () => layer.apply(x, { adapters: sequences })].map((apply) =>
      tf.grad(() => tf.sum(tf.mul(apply(), weights)))(x),
    );
    await expectClose(toInput[1]!, toInput[0]!, 1e-4);
    tf.dispose([
      x,
      weights,
      toInput,
      ...[expected!, together!].flatMap(({ value, grads, output }) => [value, output, ...Object.values(grads)]),
    ]);
    layer.dispose();
  });

  it('takes rows that are flat, and refuses rows that do not share out', async () => {
    const [layer, x] = [createLayer(), input()];
    const whole = layer.apply(x, { adapters: sequences });
    const flat = tf.tidy(() => tf.reshape(layer.apply(tf.reshape(x, [15, 5]), { adapters: sequences }), [5, 3, 11]));
    await expectClose(flat, whole, ROUNDING);
    expect(() => layer.apply(tf.ones([4, 5]), { adapters: sequences })).toThrow(
      'adapters name 5 sequences, but the 4 rows of x [4, 5] do not share out equally among them.',
    );
    tf.dispose([x, whole, flat]);
    layer.dispose();
  });

  it('leaves rows of other adapters and of none alone when inputs are dropped', async () => {
    const [layer, x] = [createLayer(0.5), input()];
    const context = { adapters: ['warm', null, 'halves', null, 'dora'], dropoutSeed: 7 };
    const [dropped, base] = [layer.apply(x, context), layer.base.apply(x)];
    const gaps = tf.tidy(() => tf.max(tf.abs(tf.sub(dropped, base)), [1, 2]));
    const values = [...(await gaps.data())];
    expect(values.map((gap) => gap > 0.1)).toEqual([true, false, true, false, true]);
    expect([values[1], values[3]]).toEqual([0, 0]);
    tf.dispose([x, dropped, base, gaps]);
    layer.dispose();
  });

  it('is the plain base where no row uses an adapter, and refuses a base that something is merged into', async () => {
    const [layer, x] = [createLayer(), input()];
    expect(layer.isPlain({ adapters: [null, null] })).toBe(true);
    expect(layer.isPlain({ adapters: [null, 'warm'] })).toBe(false);
    const [plain, base] = [layer.apply(x, { adapters: [null] }), layer.base.apply(x)];
    await expectClose(plain, base, 0);
    layer.merge('warm');
    expect(() => layer.apply(x, { adapters: [null] })).toThrow("needs the plain base, but 'warm' is merged into it");
    expect(() => layer.remove('warm')).toThrow("adapter 'warm' is merged; call unmerge first.");
    tf.dispose([x, plain, base]);
    layer.dispose();
  });

  it('changes only its columns, merged as beside', async () => {
    const [layer, x] = [createLayer(), input()];
    layer.adapterSwitch.active = ['halves'];
    const beside = layer.apply(x);
    layer.merge('halves');
    const merged = layer.apply(x);
    await expectClose(merged, beside, ROUNDING);
    layer.unmerge('halves');
    for (const update of layer.updates)
      if (update.config.r === 1) tf.tidy(() => update.magnitude!.vector.assign(tf.ones([7])));
    const [changed, base] = [layer.apply(x), layer.base.apply(x)];
    const [first, other] = tf.tidy(() => [changed, base].map((each) => tf.slice(each, [0, 0, 0], [-1, -1, 4])));
    const unchanged = tf.tidy(() => tf.slice(beside, [0, 0, 0], [-1, -1, 4]));
    await expectClose(first!, unchanged, 0);
    tf.dispose([x, beside, merged, changed, base, first!, other!, unchanged]);
    layer.dispose();
  });

  it('leaves nothing behind', async () => {
    await expectNoLeak(() => {
      const [layer, x] = [createLayer(0.5), input()];
      const { value, grads } = tf.variableGrads(
        () => tf.sum(layer.apply(x, { adapters: sequences, dropoutSeed: 3 })) as tf.Scalar,
        trainedOf(layer),
      );
      layer.remove('halves');
      tf.dispose([layer.apply(x, { adapters: ['warm', 'dora', null, null, 'warm'] }), x, value, grads]);
      layer.dispose();
    });
  });
});
