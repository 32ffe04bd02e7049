import * as tf from '@tensorflow/tfjs-core';
import { installKernels } from '@therapeutic-moe/kernels';
import { Linear, type LinearLayer, type StackedLayer, StackedLinear } from '@therapeutic-moe/nn';
import { describeOnBackends, expectClose, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { ExpertHost } from '../test/expert-host.js';
import { move } from '../test/move.js';
import { TwoLayerHost } from '../test/two-layer-host.js';
import { attachLora, type LinearHost, mergeDrift } from './index.js';

/** Half the distance of neighbours of a number by the number: what rounding to nearest costs at most. */
const UNIT = { F32: 2 ** -24, F16: 2 ** -11, BF16: 2 ** -8 };
const inputSize = 31;

const adapt = (host: TwoLayerHost, useDora: boolean, size = 1) => {
  const adapter = move(attachLora(host, { r: 2, targetModules: ['v_proj'], useDora }, 1), 1);
  for (const { b } of adapter.layers.values()) tf.tidy(() => b.assign(tf.mul(b, size)));
  return adapter;
};

/** Both operands of products round to 2^-8 where they are not in float32; what float32 leaves is far less. */
const FAR_LESS = 2 ** -17;

describeOnBackends('mergeDrift', (backend) => {
  it.runIf(backend === 'tensorflow')('is measured and merged in float32 under bfloat16 precision', async () => {
    const weightsOf = async (precision: 'float32' | 'bfloat16') => {
      await installKernels('tensorflow', { precision });
      const linear = Linear.create(257, 263, { seed: 1 });
      const stack = StackedLinear.create(2, 257, 263, { seed: 2 });
      let [q, down]: [LinearLayer, StackedLayer] = [linear, stack];
      const host: LinearHost = {
        linears: () => new Map([['q_proj', { layer: q }]]),
        replaceLinear: (_, layer) => {
          q = layer;
        },
        stacks: () => new Map([['experts.down_proj', down]]),
        replaceStack: (_, layer) => {
          down = layer;
        },
      };
      const settings = { r: 131, targetModules: ['q_proj'], targetParameters: ['experts.down_proj'] };
      const adapter = move(attachLora(host, settings, 3), 1);
      const drifts = await mergeDrift(adapter);
      adapter.merge();
      const weights = await Promise.all([linear.weight.data(), stack.weight.data()]);
      for (const layer of [q, down]) layer.dispose();
      return { drifts, weights };
    };
    const exact = await weightsOf('float32');
    const found = await weightsOf('bfloat16').finally(() => installKernels('tensorflow'));
    expect(found.drifts).toEqual(exact.drifts);
    for (const [i, weights] of found.weights.entries()) await expectClose(weights, exact.weights[i]!, FAR_LESS);
  });

  it.each([
    ['F32', false, 1],
    ['F32', true, 3], // a length of its own costs two more roundings
    ['F16', false, 1.001],
    ['BF16', false, 1.001],
    ['BF16', true, 1.001],
  ] as const)('is the rounding of %s, no more and no less, with DoRA %s', async (dtype, useDora, roundings) => {
    const host = new TwoLayerHost({ inputSize });
    const drifts = await mergeDrift(adapt(host, useDora), dtype);
    expect(drifts.map(({ path }) => path)).toEqual(['layers.0.v_proj', 'layers.1.v_proj']);
    for (const { max, relative, ofChange } of drifts) {
      expect(relative).toBeLessThanOrEqual(roundings * UNIT[dtype]);
      expect(relative).toBeGreaterThan(UNIT[dtype] / 8);
      expect(max).toBeGreaterThan(0);
      expect(ofChange).toBeGreaterThan(0);
    }
    host.dispose();
  });

  it('says that a half loses all of a change that is small beside its weight', async () => {
    const host = new TwoLayerHost({ inputSize });
    const adapter = adapt(host, false, 1e-4);
    const [[full], [half]] = [await mergeDrift(adapter), await mergeDrift(adapter, 'BF16')];
    expect(full!.ofChange).toBeLessThan(1e-3);
    expect(half!.ofChange).toBeGreaterThan(1);
    host.dispose();
  });

  it('measures stacks of experts as well', async () => {
    const host = new ExpertHost();
    const settings = { r: 2, targetModules: ['q_proj'], targetParameters: ['experts.down_proj'] };
    const adapter = move(attachLora(host, settings, 1), 1);
    for (const [dtype, unit] of Object.entries(UNIT)) {
      const drifts = await mergeDrift(adapter, dtype as keyof typeof UNIT);
      expect(drifts.map(({ path }) => path)).toEqual(['q_proj', 'experts.down_proj']);
      expect(drifts[1]!.relative).toBeLessThanOrEqual(1.001 * unit);
      expect(drifts[1]!.relative).toBeGreaterThan(unit / 8);
    }
    expect(adapter.merged).toBe(false);
    host.dispose();
  });

  it('leaves a model as it was, merged or not', async () => {
    const host = new TwoLayerHost({ inputSize });
    const adapter = adapt(host, true);
    const base = [...adapter.linears][0]!.base as Linear;
    const before = await base.weight.data();
    const drift = await mergeDrift(adapter);
    expect(await base.weight.data()).toEqual(before);
    adapter.merge();
    const merged = await base.weight.data();
    expect(await mergeDrift(adapter)).toEqual(drift);
    expect(await base.weight.data()).toEqual(merged);
    await expectNoLeak(async () => void (await mergeDrift(adapter, 'F16')));
    adapter.unmerge();
    expect(await base.weight.data()).toEqual(before);
    host.dispose();
  });
});
