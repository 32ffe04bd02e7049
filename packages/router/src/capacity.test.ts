import * as tf from '@tensorflow/tfjs-core';
import { describeOnBackends, expectClose, expectNoLeak } from '@therapeutic-moe/test-kit';
import { describe, expect, it } from 'vitest';
import { type CapacityPlan, capacityPlan, type DropBy, expertCapacity, resolveCapacityConfig } from './index.js';

const TOKENS = 13;
const EXPERTS = 5;
const K = 3;

/** Three different experts per token, expert 2 never, and weights of which several are equal. */
const chosen = Array.from({ length: TOKENS }, (_, t) =>
  [0, 1, 2].map((j) => [0, 1, 3, 4][(t * t + 3 * j) % 4]!),
).flat();
const weighed = Array.from({ length: TOKENS * K }, (_, i) => Math.fround(((i * 7) % 11) / 10));
const padding = [3, 7, 12];

interface Plain {
  tokenOfRow: number[];
  choiceOfRow: number[];
  rowOfChoice: number[];
  overflow: number[];
}

/** The same plan, one choice at a time. */
function plainPlan(capacity: number, dropBy: DropBy, padded: readonly number[] = []): Plain {
  const real = chosen.flatMap((_, choice) => (padded.includes(Math.floor(choice / K)) ? [] : [choice]));
  const order = dropBy === 'position' ? real : real.toSorted((a, b) => weighed[b]! - weighed[a]! || a - b);
  const kept = new Set<number>();
  const overflow = new Array<number>(EXPERTS).fill(0);
  for (const choice of order) {
    const before = [...kept].filter((other) => chosen[other] === chosen[choice]).length;
    if (before < capacity) kept.add(choice);
    else overflow[chosen[choice]!]!++;
  }
  const rows = EXPERTS * capacity;
  const choiceOfRow = new Array<number>(rows).fill(TOKENS * K);
  const rowOfChoice = new Array<number>(TOKENS * K).fill(rows);
  for (const choice of real.filter((choice) => kept.has(choice))) {
    const row = choiceOfRow.findIndex((taken, row) => row >= chosen[choice]! * capacity && taken === TOKENS * K);
    choiceOfRow[row] = choice;
    rowOfChoice[choice] = row;
  }
  const tokenOfRow = choiceOfRow.map((choice) => Math.floor(choice / K));
  return { tokenOfRow, choiceOfRow, rowOfChoice, overflow };
}

async function read(plan: CapacityPlan): Promise<Plain> {
  const numbers = async (t: tf.Tensor) => [...(await t.data())];
  return {
    tokenOfRow: await numbers(plan.tokenOfRow),
    choiceOfRow: await numbers(plan.choiceOfRow),
    rowOfChoice: await numbers(plan.rowOfChoice),
    overflow: await numbers(plan.overflow),
  };
}

const tensorsOf = ({ tokenOfRow, choiceOfRow, groupOfRow, rowOfChoice, overflow }: CapacityPlan) => [
  tokenOfRow,
  choiceOfRow,
  groupOfRow,
  rowOfChoice,
  overflow,
];

describeOnBackends('capacityPlan', () => {
  const choices = () => tf.tensor2d(chosen, [TOKENS, K], 'int32');
  const weights = () => tf.tensor2d(weighed, [TOKENS, K]);
  const mask = () => tf.tensor1d(Array.from({ length: TOKENS }, (_, t) => (padding.includes(t) ? 0 : 1)));

  for (const dropBy of ['position', 'probability'] as const) {
    for (const capacity of [1, 7, 17]) {
      it(`equals the plain plan: ${capacity} places, dropped by ${dropBy}`, async () => {
        const inputs = [choices(), weights()] as const;
        const plan = capacityPlan(...inputs, { experts: EXPERTS, capacity, dropBy });
        expect(await read(plan)).toEqual(plainPlan(capacity, dropBy));
        expect(plan.offsets).toEqual([0, 1, 2, 3, 4, 5].map((e) => e * capacity));
        await expectClose(
          plan.groupOfRow,
          [0, 1, 2, 3, 4].flatMap((e) => new Array(capacity).fill(e)),
          0,
        );
        tf.dispose([...inputs, ...tensorsOf(plan)]);
      });
    }

    it(`gives padded tokens no place, dropped by ${dropBy}`, async () => {
      const inputs = [choices(), weights()] as const;
      const real = mask();
      const plan = capacityPlan(...inputs, { experts: EXPERTS, capacity: 5, dropBy, mask: real });
      expect(await read(plan)).toEqual(plainPlan(5, dropBy, padding));
      tf.dispose([...inputs, real, ...tensorsOf(plan)]);
    });
  }

  it('by position, never lets a later token push out an earlier one', async () => {
    const full = capacityPlan(choices(), weights(), { experts: EXPERTS, capacity: 2, dropBy: 'position' });
    const start = tf.tidy(() => [tf.slice(choices(), [0, 0], [7, K]), tf.slice(weights(), [0, 0], [7, K])] as const);
    const early = capacityPlan(start[0], start[1], { experts: EXPERTS, capacity: 2, dropBy: 'position' });
    const [rows, earlyRows] = [(await read(full)).rowOfChoice, (await read(early)).rowOfChoice];
    expect(rows.slice(0, 7 * K)).toEqual(earlyRows);
    tf.dispose([...start, ...tensorsOf(full), ...tensorsOf(early)]);
  });

  it('keeps one expert and one place', async () => {
    const [indices, shares] = [tf.zeros<tf.Rank.R2>([3, 1], 'int32'), tf.tensor2d([0.2, 0.9, 0.4], [3, 1])];
    const plan = capacityPlan(indices, shares, { experts: 1, capacity: 1, dropBy: 'probability' });
    expect(await read(plan)).toEqual({ tokenOfRow: [1], choiceOfRow: [1], rowOfChoice: [1, 0, 1], overflow: [2] });
    tf.dispose([indices, shares, ...tensorsOf(plan)]);
  });

  it('leaves nothing behind', async () => {
    const inputs = [choices(), weights(), mask()] as const;
    await expectNoLeak(() =>
      (['position', 'probability'] as const).map((dropBy) =>
        tensorsOf(capacityPlan(inputs[0], inputs[1], { experts: EXPERTS, capacity: 3, dropBy, mask: inputs[2] })),
      ),
    );
    tf.dispose([...inputs]);
  });

  it('refuses what does not fit', () => {
    const [indices, shares, short] = [choices(), weights(), tf.ones<tf.Rank.R1>([TOKENS - 2])];
    const limits = { experts: EXPERTS, capacity: 2, dropBy: 'position' } as const;
    expect(() => capacityPlan(indices, shares, { ...limits, mask: short })).toThrow(
      'capacityPlan: mask must be [13], got [11].',
    );
    expect(() => capacityPlan(indices, shares, { ...limits, capacity: 2.5 })).toThrow(
      'capacity must be a whole number of 1 or more, got 2.5; expertCapacity makes one.',
    );
    expect(() => capacityPlan(indices, shares, { ...limits, capacity: 2 ** 22 })).toThrow(
      '39 choices in 20971520 rows are more than float32 counts exactly (16777216); split the batch.',
    );
    expect(() => capacityPlan(indices, shares, { ...limits, dropBy: 'chance' as DropBy })).toThrow(
      "dropBy must be 'position' or 'probability', got 'chance'.",
    );
    tf.dispose([indices, shares, short]);
  });
});

describe('expertCapacity', () => {
  const config = resolveCapacityConfig({ capacityFactor: 1.25, evalCapacityFactor: 2, minCapacity: 3 });

  it('is the factor times an even share, rounded up', () => {
    expect(expertCapacity(config, 101, 2, 7, true)).toBe(Math.ceil((1.25 * 101 * 2) / 7));
    expect(expertCapacity(config, 101, 2, 7, false)).toBe(Math.ceil((2 * 101 * 2) / 7));
  });

  it('is at least the minimum, and at most the tokens there are', () => {
    expect(expertCapacity(config, 5, 1, 11, true)).toBe(3);
    expect(expertCapacity(config, 2, 1, 11, true)).toBe(2);
  });
});

describe('resolveCapacityConfig', () => {
  it('fills in what is absent', () => {
    expect(resolveCapacityConfig({})).toEqual({
      capacityFactor: 1.25,
      evalCapacityFactor: 2,
      minCapacity: 4,
      dropBy: 'position',
    });
  });

  it('refuses values that mean nothing', () => {
    expect(() => resolveCapacityConfig({ capacityFactor: 0 })).toThrow(
      'capacity: capacityFactor must be a number above 0, got 0; 1 is an even share.',
    );
    expect(() => resolveCapacityConfig({ evalCapacityFactor: Number.NaN })).toThrow('evalCapacityFactor must be');
    expect(() => resolveCapacityConfig({ minCapacity: 1.5 })).toThrow('minCapacity must be a whole number');
    expect(() => resolveCapacityConfig({ dropBy: 'luck' as DropBy })).toThrow("dropBy must be 'position' or");
    expect(() => resolveCapacityConfig({ capacity: 3 } as object)).toThrow("unknown key 'capacity'");
  });
});
