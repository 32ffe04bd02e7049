import { StackedLinear } from '@therapeutic-moe/nn';
import { describeOnBackends } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { SwiGluExperts } from './index.js';

describeOnBackends('SwiGluExperts', () => {
  it('keeps its weights under the names of the fused checkpoint layout', () => {
    const experts = SwiGluExperts.create(
      { experts: 2, hidden: 5, intermediate: 3 },
      { deviation: 1, downDeviation: 1, seed: 1 },
    );
    const shapes = Object.fromEntries([...experts.parameters()].map(([name, { shape }]) => [name, shape]));
    expect(shapes).toEqual({ gate_up_proj: [2, 5, 6], down_proj: [2, 3, 5] });
    expect([experts.experts, experts.hidden]).toEqual([2, 5]);
    experts.dispose();
  });

  it('refuses stacks that do not fit together', () => {
    const stacks = [StackedLinear.create(2, 5, 6, { seed: 1 }), StackedLinear.create(3, 3, 5, { seed: 2 })] as const;
    expect(() => new SwiGluExperts(...stacks)).toThrow('do not fit: [2,5,6] and [3,3,5]');
    for (const stack of stacks) stack.dispose();
  });
});
