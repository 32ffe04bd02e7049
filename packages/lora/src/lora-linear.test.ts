import * as tf from '@tensorflow/tfjs-core';
import { Linear } from '@therapeutic-moe/nn';
import { describeOnBackends, expectClose, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { type OneUpdate, oneUpdate } from '../test/one-update.js';
import type { LoraLayerConfig } from './index.js';

/** What a merged product may differ by from the two products side by side. */
const MERGE = 1e-5;

const config: LoraLayerConfig = { r: 2, scale: 3, loraDropout: 0, useDora: false, initLoraWeights: true };

const createLayer = (loraDropout = 0) =>
  oneUpdate(Linear.create(5, 7, { bias: true, seed: 1 }), { ...config, loraDropout }, 3);

const input = () => tf.randomNormal([3, 11, 5], 0, 1, 'float32', 2);

/** Stands for training: B is no longer zero. */
function change(layer: OneUpdate): void {
  tf.tidy(() => layer.update.b.assign(tf.randomNormal(layer.update.b.shape, 0, 1, 'float32', 9)));
}

describeOnBackends('LoraLinear', () => {
  it('changes nothing while fresh, and is x W + b + scale x A B once trained', async () => {
    const [layer, x] = [createLayer(), input()];
    const [base, fresh] = [layer.base.apply(x), layer.apply(x)];
    await expectClose(fresh, base, 0);
    change(layer);
    const byHand = tf.tidy(() => {
      const rows = tf.matMul(tf.reshape(x, [33, 5]), layer.update.a as tf.Tensor2D);
      return tf.add(base, tf.reshape(tf.mul(tf.matMul(rows, layer.update.b as tf.Tensor2D), 3), [3, 11, 7]));
    });
    const changed = layer.apply(x);
    await expectClose(changed, byHand, MERGE);
    const gap = tf.max(tf.abs(tf.sub(changed, base)));
    expect((await gap.data())[0]).toBeGreaterThan(0.1);
    tf.dispose([x, base, fresh, byHand, changed, gap]);
    layer.dispose();
  });

  it('merged equals beside, and unmerged has the bits it had', async () => {
    const [layer, x] = [createLayer(), input()];
    tf.tidy(() =>
      layer.base.weight.assign(
        tf.concat([tf.fill([1, 7], -0), tf.slice(layer.base.weight as tf.Tensor, [1, 0], [4, 7])]),
      ),
    );
    change(layer);
    const before = await layer.base.weight.data();
    const beside = layer.apply(x);
    layer.merge('default');
    const merged = layer.apply(x);
    expect([...layer.merged]).toEqual(['default']);
    await expectClose(merged, beside, MERGE);
    expect(await layer.base.weight.data()).not.toEqual(before);
    layer.unmerge('default');
    const again = layer.apply(x);
    expect(new Uint32Array((await layer.base.weight.data()).buffer)).toEqual(new Uint32Array(before.buffer));
    await expectClose(again, beside, 0);
    tf.dispose([x, beside, merged, again]);
    layer.dispose();
  });

  it('refuses to merge twice or to unmerge what is not merged', () => {
    const layer = createLayer();
    expect(() => layer.unmerge('default')).toThrow("LoraLinear.unmerge: adapter 'default' is not merged.");
    layer.merge('default');
    expect(() => layer.merge('default')).toThrow("adapter 'default' is merged already; call unmerge first");
    layer.dispose();
  });

  it.each([
    [true, Math.sqrt(1 / 499) / Math.sqrt(3), Math.sqrt(1 / 499)],
    ['gaussian', 1 / 11, Number.POSITIVE_INFINITY],
  ] as const)('starts A by %j with the deviation of PEFT', async (initLoraWeights, deviation, bound) => {
    const base = Linear.create(499, 2, { seed: 1 });
    const layer = oneUpdate(base, { ...config, r: 11, initLoraWeights }, 3);
    const values = (await layer.update.a.data()) as Float32Array;
    const measured = Math.sqrt(values.reduce((sum, value) => sum + value ** 2, 0) / values.length);
    expect(Math.abs(measured / deviation - 1)).toBeLessThan(0.05); // 5489 draws
    expect(Math.max(...values.map(Math.abs))).toBeLessThanOrEqual(bound);
    layer.dispose();
  });

  it('gives gradients to A and B, and none to a base that is not asked for', async () => {
    const [layer, x] = [createLayer(), input()];
    change(layer);
    const loss = () => tf.sum(tf.square(layer.apply(x))) as tf.Scalar;
    const { value, grads } = tf.variableGrads(loss, [layer.update.a, layer.update.b]);
    expect(Object.keys(grads).sort()).toEqual([layer.update.a.name, layer.update.b.name].sort());
    for (const gradient of Object.values(grads)) {
      const size = tf.tidy(() => tf.max(tf.abs(gradient)));
      expect((await size.data())[0]).toBeGreaterThan(0);
      size.dispose();
    }
    tf.dispose([x, value, grads]);
    layer.dispose();
  });

  it('drops inputs of the update while training only, by seed', async () => {
    const [layer, x] = [createLayer(0.5), input()];
    change(layer);
    const [calm, again] = [layer.apply(x), layer.apply(x, {})];
    const [dropped, same, other] = [7, 7, 8].map((dropoutSeed) => layer.apply(x, { dropoutSeed }));
    await expectClose(calm, again, 0);
    await expectClose(dropped!, same!, 0);
    for (const pair of [
      [calm, dropped!],
      [dropped!, other!],
    ] as const) {
      const gap = tf.tidy(() => tf.max(tf.abs(tf.sub(...pair))));
      expect((await gap.data())[0]).toBeGreaterThan(0.1);
      gap.dispose();
    }
    tf.dispose([x, calm, again, dropped!, same!, other!]);
    layer.dispose();
  });

  it('leaves nothing behind', async () => {
    await expectNoLeak(() => {
      const [layer, x] = [createLayer(0.5), input()];
      layer.merge('default');
      tf.dispose([layer.apply(x), layer.update.delta()]);
      layer.unmerge('default');
      tf.dispose([layer.apply(x, { dropoutSeed: 1 }), x]);
      layer.merge('default');
      layer.dispose();
    });
  });
});
