import * as tf from '@tensorflow/tfjs-core';
import { describeOnBackends } from '@therapeutic-moe/test-kit';
import { describe, expect, it } from 'vitest';
import { CausalLm, countParameters, type PresetName, presetGaps, presets, trainable, upcycledConfig } from './index.js';

const names = Object.keys(presets) as PresetName[];

/** Narrow enough for a test; the mixture is the preset's own, in a layer that is there. */
const narrow = { vocabSize: 31, hiddenSize: 16, intermediateSize: 20, numKeyValueHeads: 2, headDim: 4 };
const overrides = (name: PresetName) =>
  name === 'nemo-moe'
    ? { ...narrow, numHiddenLayers: 3, mixture: { ...presets[name]().mixture!, layers: [1] } }
    : narrow;

describe('presets', () => {
  it('have the sizes that the README tells', () => {
    const sizes = names.map((name) => [name, countParameters(presets[name]()).total]);
    expect(Object.fromEntries(sizes)).toEqual({
      therapeutic: 7_149_824,
      hierarchical: 7_156_224,
      constellation: 5_195_008,
      'multi-level': 6_605_104,
      'nemo-moe': 14_890_275_840,
    });
  });

  it('nemo-moe is Mistral-Nemo, three more experts in each of four layers, and their gates', () => {
    const [hidden, inner, layers] = [5120, 14_336, 4];
    const [feedForward, gate] = [3 * hidden * inner, 4 * hidden];
    const { total, activePerToken } = countParameters(presets['nemo-moe']());
    expect(total).toBe(12_247_782_400 + layers * (3 * feedForward + gate));
    expect(activePerToken).toBe(12_247_782_400 + layers * (feedForward + gate));
    const { mixture: _, ...dense } = presets['nemo-moe']();
    const { layers: where, domains, numExperts, numExpertsPerTok } = presets['nemo-moe']().mixture!;
    expect(upcycledConfig(dense, { layers: where, domains, numExperts, numExpertsPerTok })).toEqual(
      presets['nemo-moe'](),
    );
  });

  it('say what their designs still lack, and only for presets that exist', () => {
    expect(Object.keys(presetGaps)).toEqual(['constellation']);
    for (const [name, gap] of Object.entries(presetGaps)) expect(gap).toContain(`preset '${name}'`);
  });

  it("go without a part that is null, JSON's way to leave it out", () => {
    const plain = presets.hierarchical({ attention: null, positions: null });
    expect([plain.attention, plain.positions, plain.mixture?.numExperts]).toEqual([undefined, undefined, 8]);
    const stretched = { type: 'linear', factor: 2 } as const;
    expect(presets.hierarchical({ positions: null, ropeScaling: stretched }).ropeScaling).toEqual(stretched);
  });

  it('hierarchical drops nothing outside of training', () => {
    const { numExperts, numExpertsPerTok, capacity } = presets.hierarchical().mixture!;
    expect((capacity!.evalCapacityFactor * numExpertsPerTok) / numExperts).toBe(1);
  });
});

describeOnBackends('a preset', (backend) => {
  // SwiftShader compiles a training step for a minute; mixture.test.ts decodes every kind of mixture there.
  it.skipIf(backend === 'webgpu').each(names)(
    '%s learns, decodes as one pass computes, and has as many numbers as counted',
    async (name) => {
      const model = CausalLm.create(presets[name](overrides(name)), 3);
      expect([...model.parameters().values()].reduce((sum, { size }) => sum + size, 0)).toBe(
        countParameters(model.config).total,
      );
      const target = trainable(model, { klBalance: 0.01, zLoss: 0.001, domainSupervision: 0 });
      const ids = Int32Array.from({ length: 22 }, (_, i) => 1 + ((5 * i) % 11));
      const batch = {
        batch: 2,
        seq: 11,
        ids,
        targets: Int32Array.from(ids, (id) => 1 + ((id + 4) % 11)),
        mask: new Uint8Array(22).fill(1),
        domains: new Int32Array(22).fill(-1),
      };
      const optimizer = tf.train.adam(0.01);
      const losses: number[] = [];
      for (let step = 0; step < 12; step++) {
        const cost = optimizer.minimize(() => target.loss(batch, { tokensInStep: 22, seed: step }).total, true, [
          ...target.parameters().values(),
        ])!;
        losses.push((await cost.data())[0]!);
        cost.dispose();
      }
      optimizer.dispose();
      expect(losses.at(-1)).toBeLessThan(losses[0]!);
      const session = model.createSession();
      await session.append([...ids.slice(0, 7)]);
      const { logits } = await session.append([ids[7]!]);
      const whole = tf.tidy(() => {
        const { logits } = model.forward(tf.tensor2d([[...ids.slice(0, 8)]], [1, 8], 'int32'), { lastOnly: true });
        return tf.reshape(logits, [-1]);
      });
      const expected = await whole.data();
      for (const [i, logit] of logits.entries()) expect(logit).toBeCloseTo(expected[i]!, 3);
      whole.dispose();
      session.dispose();
      model.dispose();
    },
  );
});
