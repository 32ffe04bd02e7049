import { describeOnBackends } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { TwoLayerHost } from '../test/two-layer-host.js';
import { attachLora, loraPlusFactor } from './index.js';

describeOnBackends('loraPlusFactor', () => {
  it('lets B and the lengths of DoRA learn faster than A', () => {
    const host = new TwoLayerHost();
    const adapter = attachLora(host, { r: 2, targetModules: ['v_proj'], useDora: true }, 1);
    const factors = [...adapter.parameters().keys()].map((path) => [path.split('.').at(-1), loraPlusFactor(path, 16)]);
    expect(Object.fromEntries(factors)).toEqual({ lora_A: 1, lora_B: 16, lora_magnitude_vector: 16 });
    host.dispose();
  });
});
