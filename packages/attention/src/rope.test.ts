import * as tf from '@tensorflow/tfjs-core';
import { rotate } from '@therapeutic-moe/kernels';
import { describeOnBackends, expectClose } from '@therapeutic-moe/test-kit';
import { describe, expect, it } from 'vitest';
import { type RopeConfig, resolveRopeConfig, ropeTables, ropeTablesOfRows } from './index.js';

/** float32 tables of angles computed in float64. */
const TABLE = 1e-6;

const plain: RopeConfig = { headDim: 6, theta: 100, scaling: { type: 'none' } };
const yarn = { type: 'yarn', factor: 4, originalMaxPositionEmbeddings: 16 } as const;
const llama3 = {
  type: 'llama3',
  factor: 8,
  originalMaxPositionEmbeddings: 16,
  lowFreqFactor: 1,
  highFreqFactor: 4,
} as const;
const longrope = {
  type: 'longrope',
  factor: 8,
  originalMaxPositionEmbeddings: 16,
  shortFactor: [1, 1, 2],
  longFactor: [1, 2, 3],
} as const;

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
    [
      { scaling: { type: 'su' } },
      "rope: scaling.type must be one of 'none', 'linear', 'ntk', 'dynamic', 'yarn', 'llama3', 'longrope', got 'su'.",
    ],
    [{ scaling: { type: 'toString' } }, "got 'toString'."],
    [{ scaling: { type: 'linear', factor: 0.5 } }, 'rope: scaling.factor must be 1 or more, got 0.5'],
    [{ scaling: { type: 'linear' } }, 'rope: scaling.factor must be 1 or more, got undefined'],
    [{ scaling: { type: 'none', factor: 2 } }, "rope: scaling: unknown key 'factor'; known are type."],
    [
      { scaling: { type: 'yarn', factor: 4 } },
      'rope: scaling.originalMaxPositionEmbeddings must be a whole number of 1 or more, got undefined; yarn needs the length before stretching.',
    ],
    [{ scaling: { ...yarn, betaFast: 1 } }, 'rope: scaling.betaFast must be above betaSlow, got 1 and 1.'],
    [{ scaling: { ...yarn, betaSlow: 0 } }, 'rope: scaling.betaSlow must be a number above 0, got 0.'],
    [{ scaling: { ...yarn, mscale: 1 } }, 'rope: scaling.mscale and mscaleAllDim count together, got 1 and undefined'],
    [{ scaling: { ...yarn, truncate: 1 } }, 'rope: scaling.truncate must be true or false, got 1.'],
    [{ scaling: yarn, theta: 1 }, 'rope: theta must be above 1 with yarn scaling, got 1'],
    [{ scaling: { ...yarn, shortFactor: [1] } }, "rope: scaling: unknown key 'shortFactor'"],
    [{ scaling: { type: 'ntk', factor: 2 }, headDim: 2 }, 'rope: ntk scaling needs a headDim of 4 or more, got 2'],
    [
      { scaling: { type: 'dynamic', factor: 2, originalMaxPositionEmbeddings: 1.5 } },
      'got 1.5; dynamic needs the length before stretching.',
    ],
    [{ scaling: { ...llama3, lowFreqFactor: undefined } }, 'rope: scaling.lowFreqFactor must be a number above 0'],
    [{ scaling: { ...llama3, highFreqFactor: 1 } }, 'rope: scaling.highFreqFactor must be above lowFreqFactor, got 1'],
    [
      { scaling: { ...longrope, longFactor: [1, 2] } },
      'rope: scaling.longFactor must list headDim / 2 = 3 numbers, one per pair, got 2.',
    ],
    [{ scaling: { ...longrope, shortFactor: 7 } }, 'one per pair, got 7.'],
    [{ scaling: { ...longrope, shortFactor: [1, 0, 1] } }, 'rope: scaling.shortFactor[1] must be a number above 0'],
    [
      { scaling: { ...longrope, originalMaxPositionEmbeddings: 1 } },
      'rope: scaling.originalMaxPositionEmbeddings is 1, whose logarithm is 0; set attentionFactor.',
    ],
    [{ scaling: undefined }, 'rope: scaling must be an object, got undefined'],
    [{ interleaved: 1 }, 'rope: interleaved must be true or false, got 1.'],
    [{ base: 10 }, "rope: unknown key 'base'; known are headDim, theta, scaling, interleaved."],
  ])('refuses %j', (change, message) => {
    expect(() => resolveRopeConfig({ ...plain, ...change } as RopeConfig)).toThrow(message);
    expect(() => ropeTables({ ...plain, ...change } as RopeConfig, 0, 2)).toThrow(message);
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

  it('makes cosines and sines longer by the attention factor', async () => {
    const scaled = ropeTables({ ...plain, scaling: { ...yarn, attentionFactor: 1.5 } }, 3, 2);
    const lengths = tf.tidy(() => tf.sqrt(tf.add(tf.square(scaled.cos), tf.square(scaled.sin))));
    await expectClose(lengths, new Array(6).fill(1.5), TABLE);
    tf.dispose([{ ...scaled }, lengths]);
  });

  it('takes the angles of the whole length where the scaling looks at it', async () => {
    const config = { ...plain, scaling: longrope };
    const [inside, past] = [ropeTables(config, 5, 2), ropeTables(config, 5, 2, 17)];
    const angles = (divisors: readonly number[]) =>
      [5, 6].flatMap((p) => [0, 1, 2].map((i) => (p * 100 ** (-i / 3)) / divisors[i]!));
    const grown = Math.sqrt(1 + Math.log(8) / Math.log(16));
    const cosines = (divisors: readonly number[]) => angles(divisors).map((angle) => grown * Math.cos(angle));
    await expectClose(inside.cos, cosines(longrope.shortFactor), TABLE);
    await expectClose(past.cos, cosines(longrope.longFactor), TABLE);
    tf.dispose([{ ...inside }, { ...past }]);
  });

  it('of rows gives each row the tables of its own position and length', async () => {
    const config = { ...plain, scaling: longrope, interleaved: true };
    const rows = ropeTablesOfRows(config, [{ start: 2 }, { start: 14 }, { start: 3, length: 23 }], 5);
    const single = [ropeTables(config, 2, 5), ropeTables(config, 14, 5), ropeTables(config, 3, 5, 23)];
    expect([rows.layout, rows.cos.shape]).toEqual([single[0]!.layout, [3, 5, 3]]);
    for (const table of ['cos', 'sin'] as const) {
      const stacked = tf.stack(single.map((tables) => tables[table]));
      await expectClose(rows[table], stacked, 0);
      stacked.dispose();
    }
    tf.dispose([rows, ...single].map(({ cos, sin }) => [cos, sin]));
  });

  it('says which layout the pairs have', () => {
    const [halves, neighbours] = [ropeTables(plain, 0, 1), ropeTables({ ...plain, interleaved: true }, 0, 1)];
    expect([halves.layout, neighbours.layout]).toEqual(['half-split', 'interleaved']);
    tf.dispose([halves, neighbours].map(({ cos, sin }) => [cos, sin]));
  });

  it('makes scores depend on the distance of two positions only', async () => {
    const [q, k] = [2, 3].map((seed) => tf.randomNormal<tf.Rank.R4>([1, 1, 1, 6], 0, 1, 'float32', seed));
    const scoreAt = async (queryPosition: number, keyPosition: number) => {
      const score = tf.tidy(() => {
        const turned = ([x, position]: [tf.Tensor4D, number]) => {
          return rotate(x, ropeTables(plain, position, 1));
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
