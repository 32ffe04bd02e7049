import * as tf from '@tensorflow/tfjs-core';
import { describeOnBackends } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { sortByExpert, sortByExpertOnDevice } from './index.js';

describeOnBackends('sortByExpert', () => {
  it('sorts choices by expert, keeps the order of tokens, and counts an idle expert', async () => {
    const plan = sortByExpert([3, 0, 0, 1, 3, 1], 2, 4);
    expect(plan.offsets).toEqual([0, 2, 4, 4, 6]);
    expect([...(await plan.tokenOfRow.data())]).toEqual([0, 1, 1, 2, 0, 2]);
    expect([...(await plan.rowOfChoice.data())]).toEqual([4, 0, 1, 2, 5, 3]);
    expect(plan.rowOfChoice.shape).toEqual([3, 2]);
    plan.tokenOfRow.dispose();
    plan.rowOfChoice.dispose();
  });

  for (const { name, padded } of [
    { name: 'every token real', padded: [] },
    { name: 'padded tokens', padded: [0, 5, 6, 12] },
  ]) {
    it(`gives the same plan on the device: ${name}`, async () => {
      const [tokens, k, experts] = [13, 3, 7];
      const indices = Array.from({ length: tokens * k }, (_, i) => (i * i + Math.floor(i / k)) % (experts - 1));
      const real = Float32Array.from({ length: tokens }, (_, t) => (padded.includes(t) ? 0 : 1));
      const host = sortByExpert(indices, k, experts, real);
      const [choices, mask] = [tf.tensor2d(indices, [tokens, k], 'int32'), tf.tensor1d(real)];
      const device = sortByExpertOnDevice(choices, experts, padded.length ? mask : undefined);
      const rows = host.tokenOfRow.size;
      const pad = (empty: number) => new Array(tokens * k - rows).fill(empty); // rows of nothing come last
      expect([...(await device.offsets.data())]).toEqual(host.offsets);
      expect([...(await device.tokenOfRow.data())]).toEqual([...(await host.tokenOfRow.data()), ...pad(tokens)]);
      expect([...(await device.choiceOfRow.data())]).toEqual([...(await host.choiceOfRow.data()), ...pad(tokens * k)]);
      expect([...(await device.groupOfRow.data())].slice(0, rows)).toEqual([...(await host.groupOfRow.data())]);
      const rowOfChoice = [...(await host.rowOfChoice.data())].map((row) => (row === rows ? tokens * k : row));
      expect([...(await device.rowOfChoice.data())]).toEqual(rowOfChoice);
      expect(device.complete).toBe(host.complete);
      const { complete: _, ...ofDevice } = device;
      const { complete: __, offsets: ___, ...ofHost } = host;
      tf.dispose([choices, mask, { ...ofDevice }, { ...ofHost }]);
    });
  }

  it('refuses an index that names no expert', () => {
    expect(() => sortByExpert([0, 1, 2, 3], 2, 3)).toThrow('token 1 chose expert 3, but experts are 0 to 2.');
    expect(() => sortByExpert([Number.NaN], 1, 3)).toThrow('token 0 chose expert NaN');
  });

  it('refuses a mask of other tokens', () => {
    expect(() => sortByExpert([0, 1, 2, 1, 0, 2], 2, 3, [1, 0])).toThrow(
      'sortByExpert: 6 indices with k 2 and a mask of 2 do not describe the same tokens.',
    );
    expect(() => sortByExpert([0, 1, 2], 2, 3)).toThrow('3 indices with k 2 do not describe the same tokens.');
    const [indices, mask] = [tf.zeros<tf.Rank.R2>([3, 2], 'int32'), tf.ones<tf.Rank.R1>([2])];
    expect(() => sortByExpertOnDevice(indices, 5, mask)).toThrow('sortByExpertOnDevice: mask must be [3], got [2].');
    tf.dispose([indices, mask]);
  });
});
