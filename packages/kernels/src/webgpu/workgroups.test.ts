import { expect, it } from 'vitest';
import { inLine } from './workgroups.js';

it('launches every workgroup within the bound of a dimension, few too many', () => {
  for (const count of [0, 1, 65535, 65537, 1_000_003]) {
    const [x, y, z] = inLine(count);
    expect(Math.max(x, y)).toBeLessThanOrEqual(65535);
    expect(z).toBe(1);
    expect(x * y).toBeGreaterThanOrEqual(count);
    expect(x * y - count).toBeLessThan(y);
  }
});
