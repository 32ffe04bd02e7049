import { describeOnBackends } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { sortByExpert } from './index.js';

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

  it('refuses an index that names no expert', () => {
    expect(() => sortByExpert([0, 1, 2, 3], 2, 3)).toThrow('token 1 chose expert 3, but experts are 0 to 2.');
    expect(() => sortByExpert([Number.NaN], 1, 3)).toThrow('token 0 chose expert NaN');
  });
});
