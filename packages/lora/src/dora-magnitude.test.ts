import * as tf from '@tensorflow/tfjs-core';
import { Linear } from '@therapeutic-moe/nn';
import { describeOnBackends, expectClose, expectGradient, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { type OneUpdate, oneUpdate } from '../test/one-update.js';
import type { LoraLayerConfig } from './index.js';

/** What two orders of the same products, sums and one root may differ by. */
const ROUNDING = 1e-5;
/** A central difference in float32 is no better. */
const DIFFERENCES = 1e-2;

const config: LoraLayerConfig = { r: 2, scale: 3, loraDropout: 0, useDora: true, initLoraWeights: true };

const createLayer = (changes: Partial<LoraLayerConfig> = {}, bias = true) =>
  oneUpdate(Linear.create(5, 7, { bias, seed: 1 }), { ...config, ...changes }, 3);

const input = () => tf.randomNormal([3, 11, 5], 0, 1, 'float32', 2);

/** Stands for training: the bias and B are no longer zero, nor the lengths those of the base. */
function change({ base, update: { b, magnitude } }: OneUpdate): void {
  tf.tidy(() => {
    base.bias?.assign(tf.randomNormal(base.bias.shape, 0, 1, 'float32', 8));
    b.assign(tf.randomNormal(b.shape, 0, 1, 'float32', 9));
    magnitude!.vector.assign(tf.randomUniform([7], 0.5, 2, 'float32', 10));
  });
}

/** `W + scale A B`, and the length of each of its columns. */
function adaptedWeight({ base, update: { a, b } }: OneUpdate) {
  const adapted = tf.add(base.weight, tf.mul(tf.matMul(a as tf.Tensor2D, b as tf.Tensor2D), 3));
  return { adapted, norm: tf.norm(adapted, 'euclidean', 0) };
}

describeOnBackends('LoraLinear with DoRA', () => {
  it('changes nothing while fresh', async () => {
    const [layer, x] = [createLayer(), input()];
    const [base, fresh] = [layer.base.apply(x), layer.apply(x)];
    await expectClose(fresh, base, ROUNDING);
    tf.dispose([x, base, fresh]);
    layer.dispose();
  });

  it.each([true, false])('gives each column of the adapted weight its length: bias %s', async (bias) => {
    const [layer, x] = [createLayer({}, bias), input()];
    change(layer);
    const byHand = tf.tidy(() => {
      const { adapted, norm } = adaptedWeight(layer);
      const weight = tf.mul(tf.div(adapted, norm), layer.update.magnitude!.vector) as tf.Tensor2D;
      const rows = tf.matMul(tf.reshape(x, [33, 5]), weight);
      return tf.reshape(layer.base.bias ? tf.add(rows, layer.base.bias) : rows, [3, 11, 7]);
    });
    const beside = layer.apply(x);
    await expectClose(beside, byHand, ROUNDING);
    tf.dispose([x, byHand, beside]);
    layer.dispose();
  });

  it('merged equals beside, with columns of the lengths trained, and unmerged has the bits it had', async () => {
    const [layer, x] = [createLayer(), input()];
    change(layer);
    const before = await layer.base.weight.data();
    const beside = layer.apply(x);
    layer.merge('default');
    const [merged, lengths] = [layer.apply(x), tf.norm(layer.base.weight, 'euclidean', 0)];
    await expectClose(merged, beside, ROUNDING);
    await expectClose(lengths, layer.update.magnitude!.vector, ROUNDING);
    layer.unmerge('default');
    expect(await layer.base.weight.data()).toEqual(before);
    const again = layer.apply(x);
    await expectClose(again, beside, 0);
    tf.dispose([x, beside, merged, lengths, again]);
    layer.dispose();
  });

  it('has the gradients of the formula whose norm is a constant', async () => {
    const [layer, x, weights] = [createLayer({}, false), input(), tf.randomNormal([3, 11, 7], 0, 1, 'float32', 4)];
    change(layer);
    const norm = tf.tidy(() => adaptedWeight(layer).norm);
    const formula = (a: tf.Tensor, b: tf.Tensor, m: tf.Tensor) => {
      const adapted = tf.add(layer.base.weight, tf.mul(tf.matMul(a as tf.Tensor2D, b as tf.Tensor2D), 3));
      const rows = tf.matMul(tf.reshape(x, [33, 5]), tf.mul(adapted, tf.div(m, norm)) as tf.Tensor2D);
      return tf.sum(tf.mul(tf.reshape(rows, [3, 11, 7]), weights));
    };
    const trained = [layer.update.a, layer.update.b, layer.update.magnitude!.vector];
    await expectGradient((a, b, m) => formula(a!, b!, m!), trained, { tolerance: DIFFERENCES });
    const expected = tf.grads((...values: tf.Tensor[]) => formula(values[0]!, values[1]!, values[2]!))(trained);
    const loss = () => tf.sum(tf.mul(layer.apply(x), weights)) as tf.Scalar;
    const { value, grads } = tf.variableGrads(loss, trained);
    for (const [i, variable] of trained.entries()) await expectClose(grads[variable.name]!, expected[i]!, 1e-4);
    tf.dispose([x, weights, norm, value, grads, expected]);
    layer.dispose();
  });

  it('drops inputs of all that the adapter adds, as PEFT does', async () => {
    const [layer, x] = [createLayer({ loraDropout: 0.5 }), tf.ones([1, 5])];
    change(layer);
    const [dropped, calm] = [layer.apply(x, { dropoutSeed: 7 }), layer.apply(x)];
    // Of ones, dropout leaves each input as 0 or 2: one of 32 possible answers.
    const answers = tf.tidy(() => {
      const { adapted, norm } = adaptedWeight(layer);
      const whole = tf.mul(adapted, tf.div(layer.update.magnitude!.vector, norm));
      const added = tf.sub(whole, layer.base.weight) as tf.Tensor2D;
      const masks = Array.from({ length: 32 }, (_, mask) => Array.from({ length: 5 }, (_, i) => 2 * ((mask >> i) & 1)));
      return tf.add(layer.base.apply(x), tf.matMul(tf.tensor2d(masks), added));
    });
    const gap = tf.tidy(() => tf.min(tf.max(tf.abs(tf.sub(answers, dropped)), 1)));
    expect((await gap.data())[0]).toBeLessThan(ROUNDING * 10);
    const moved = tf.tidy(() => tf.max(tf.abs(tf.sub(dropped, calm))));
    expect((await moved.data())[0]).toBeGreaterThan(0.1);
    tf.dispose([x, dropped, calm, answers, gap, moved]);
    layer.dispose();
  });

  it('stays finite at a column of zeros, which has no direction', async () => {
    const base = Linear.create(5, 7, { seed: 1 });
    tf.tidy(() => base.weight.assign(tf.mul(base.weight, tf.tensor1d([1, 1, 0, 1, 1, 1, 1]))));
    const [layer, x] = [oneUpdate(base, config, 3), input()];
    const [fresh, expected] = [layer.apply(x), base.apply(x)];
    await expectClose(fresh, expected, ROUNDING);
    const { value, grads } = tf.variableGrads(
      () => tf.sum(layer.apply(x)) as tf.Scalar,
      [...layer.update.factors().values()],
    );
    for (const gradient of Object.values(grads)) expect((await gradient.data()).every(Number.isFinite)).toBe(true);
    tf.dispose([x, fresh, expected, value, grads]);
    layer.dispose();
  });

  it('leaves nothing behind', async () => {
    await expectNoLeak(() => {
      const [layer, x] = [createLayer({ loraDropout: 0.5 }), input()];
      const trained = [...layer.update.factors().values()];
      const { value, grads } = tf.variableGrads(() => tf.sum(layer.apply(x, { dropoutSeed: 1 })) as tf.Scalar, trained);
      layer.merge('default');
      tf.dispose([layer.apply(x), x, value, grads]);
      layer.dispose();
    });
  });
});
