import * as tf from '@tensorflow/tfjs-core';
import { Linear } from '@therapeutic-moe/nn';
import { describeOnBackends, expectClose, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { TwoLayerHost } from '../test/two-layer-host.js';
import { attachLora, detachLora, LoraLinear } from './index.js';

describeOnBackends('attachLora', () => {
  it('wraps the linears it targets and no others', () => {
    const host = new TwoLayerHost();
    const adapter = attachLora(host, { r: 2, targetModules: ['v_proj'] }, 1);
    const wrapped = [...host.linears()].flatMap(([path, { layer }]) => (layer instanceof LoraLinear ? [path] : []));
    expect(wrapped).toEqual(['layers.0.v_proj', 'layers.1.v_proj']);
    expect([...adapter.parameters().keys()]).toEqual([
      'layers.0.v_proj.lora_A',
      'layers.0.v_proj.lora_B',
      'layers.1.v_proj.lora_A',
      'layers.1.v_proj.lora_B',
    ]);
    host.dispose();
  });

  it('gives each layer factors of its own, the same for the same seed', async () => {
    const factors = await Promise.all(
      [1, 1, 2].map(async (seed) => {
        const host = new TwoLayerHost();
        const adapter = attachLora(host, { r: 2, targetModules: ['q_proj'] }, seed);
        const values = await Promise.all([...adapter.layers.values()].map(({ a }) => a.data()));
        host.dispose();
        return values;
      }),
    );
    expect(factors[0]).toEqual(factors[1]);
    expect(factors[0]).not.toEqual(factors[2]);
    expect(factors[0]![0]).not.toEqual(factors[0]![1]);
  });

  it('refuses a target that names nothing, and a name that is taken, leaving the host as it was', () => {
    const host = new TwoLayerHost();
    expect(() => attachLora(host, { targetModules: ['gate_proj'] }, 1)).toThrow(
      "attachLora: targetModules names 'gate_proj', but the model has q_proj, v_proj.",
    );
    attachLora(host, { targetModules: ['v_proj'] }, 1);
    const before = tf.memory().numTensors;
    expect(() => attachLora(host, { targetModules: ['q_proj', 'v_proj'] }, 2)).toThrow(
      "attachLora: the model has an adapter 'default' already; give the new one another name, or detach that one first.",
    );
    expect(host.linear('layers.0.q_proj')).toBeInstanceOf(Linear);
    expect(tf.memory().numTensors).toBe(before);
    host.dispose();
  });
});

describeOnBackends('detachLora', () => {
  it('gives the base back, bit for bit, also from a merged adapter', async () => {
    const host = new TwoLayerHost();
    const base = host.linear('layers.1.v_proj') as Linear;
    const before = await base.weight.data();
    const x = tf.ones([2, 5]);
    const answer = base.apply(x);
    const adapter = attachLora(host, { r: 2, targetModules: ['q_proj', 'v_proj'] }, 1);
    for (const { b } of adapter.layers.values()) tf.tidy(() => b.assign(tf.ones(b.shape)));
    adapter.merge();
    detachLora(host, adapter);
    expect(host.linear('layers.1.v_proj')).toBe(base);
    expect(await base.weight.data()).toEqual(before);
    const again = base.apply(x);
    await expectClose(again, answer, 0);
    tf.dispose([x, answer, again]);
    host.dispose();
  });

  it('leaves nothing behind', async () => {
    await expectNoLeak(() => {
      const host = new TwoLayerHost();
      detachLora(host, attachLora(host, { r: 2, targetModules: ['q_proj'] }, 1));
      host.dispose();
    });
  });
});
