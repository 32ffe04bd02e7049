import * as tf from '@tensorflow/tfjs-core';
import { rotate } from '@therapeutic-moe/kernels';
import { describeOnBackends, expectClose } from '@therapeutic-moe/test-kit';
import { describe, expect, it } from 'vitest';
import { type RopeConfig, resolveRopeConfig, ropeTables } from './index.js';

/** float32 tables of angles computed in float64. */
const TABLE = 1e-6;

const plain: RopeConfig = { headDim: 6, theta: 100, scaling: { type: 'none' } };

describe('resolveRopeConfig', () => {
  it('returns the settings frozen', () => {
    const config = resolveRopeConfig({ ...plain, scaling: { type: 'linear', factor: 4 } });
    expect(config.scaling).toEqual({ type: 'linear', factor: 4 });
    expect(Object.isFrozen(config) && Object.isFrozen(config.scaling)).toBe(true);
  });

  it.each<[Record<string, unknown>, string]>([
    [{ headDim: 7 }, 'rope: headDim must be an even whole number, got 7; rotary positions turn pairs of values.'],
    [{ theta: 0 }, 'rope: theta must be above 0, got 0.'],
    [{ theta: '10000' }, 'rope: theta must be above 0, got 10000.'],
    [{ scaling: { type: 'yarn' } }, "rope: scaling.type must be 'none' or 'linear', got 'yarn'."],
    [{ scaling: { type: 'linear', factor: 0.5 } }, 'rope: scaling.factor must be 1 or more, got 0.5'],
    [{ scaling: { type: 'linear' } }, 'rope: scaling.factor must be 1 or more, got undefined'],
    [{ scaling: { type: 'none', factor: 2 } }, "rope: scaling: unknown key 'factor'; known are type."],
    [{ base: 10 }, "rope: unknown key 'base'; known are headDim, theta, scaling."],
  ])('refuses %j', (change, message) => {
    expect(() => resolveRopeConfig({ ...plain, ...change } as RopeConfig)).toThrow(message);
  });
});

describeOnBackends('ropeTables', () => {
  it('turns pair i at position p by p * theta^(-2 i / headDim)', async () => {
    const { cos, sin } = ropeTables(plain, 2, 3);
    const angles = [2, 3, 4].flatMap((p) => [0, 1, 2].map((i) => p * 100 ** (-i / 3)));
    await expectClose(cos, angles.map(Math.cos), TABLE);
    await expectClose(sin, angles.map(Math.sin), TABLE);
    tf.dispose([cos, sin]);
  });

  it('with linear scaling by f equals, at position p * f, the unscaled table at p', async () => {
    const stretched = ropeTables({ ...plain, scaling: { type: 'linear', factor: 3 } }, 0, 13);
    const unscaled = ropeTables(plain, 0, 5);
    const [wide, narrow] = [await stretched.cos.data(), await unscaled.cos.data()];
    for (let p = 0; p < 5; p++) {
      await expectClose(wide.slice(p * 9, p * 9 + 3), narrow.slice(p * 3, p * 3 + 3), TABLE);
    }
    tf.dispose([{ ...stretched }, { ...unscaled }]);
  });

  it('makes scores depend on the distance of two positions only', async () => {
    const [q, k] = [2, 3].map((seed) => tf.randomNormal<tf.Rank.R4>([1, 1, 1, 6], 0, 1, 'float32', seed));
    const scoreAt = async (queryPosition: number, keyPosition: number) => {
      const score = tf.tidy(() => {
        const turned = ([x, position]: [tf.Tensor4D, number]) => {
          const { cos, sin } = ropeTables(plain, position, 1);
          return rotate(x, cos, sin);
        };
        return tf.sum(tf.mul(turned([q!, queryPosition]), turned([k!, keyPosition])));
      });
      const [value] = await score.data();
      score.dispose();
      return value!;
    };
    const near = await scoreAt(7, 4);
    expect(await scoreAt(20, 17)).toBeCloseTo(near, 5);
    expect(Math.abs((await scoreAt(7, 2)) - near)).toBeGreaterThan(1e-3);
    tf.dispose([q!, k!]);
  });
});
