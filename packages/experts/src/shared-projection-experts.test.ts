import { Linear, StackedLinear } from '@therapeutic-moe/nn';
import { describeOnBackends } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { SharedProjectionExperts, StackedRmsNorm } from './index.js';

describeOnBackends('SharedProjectionExperts', () => {
  it('has two matrices for all, and a norm and a matrix for each', () => {
    const layer = SharedProjectionExperts.create(
      { experts: 5, hidden: 7, intermediate: 3 },
      { deviation: 1, downDeviation: 1, rmsNormEps: 1e-5, seed: 1 },
    );
    const shapes = Object.fromEntries([...layer.parameters()].map(([name, { shape }]) => [name, shape]));
    expect(shapes).toEqual({
      'in_proj.weight': [7, 3],
      norm: [5, 3],
      inner_proj: [5, 3, 3],
      'out_proj.weight': [3, 7],
    });
    layer.dispose();
  });

  it('refuses parts that do not fit together', () => {
    const parts = [
      Linear.create(7, 3, { seed: 1 }),
      StackedRmsNorm.create(5, 3, 1e-5),
      StackedLinear.create(2, 3, 3, { seed: 2 }),
      Linear.create(3, 7, { seed: 3 }),
    ] as const;
    expect(() => new SharedProjectionExperts(...parts)).toThrow('do not fit: [7,3], [5,3], [2,3,3], [3,7].');
    for (const part of parts) part.dispose();
  });
});
