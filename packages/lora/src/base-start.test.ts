import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import type { Linear } from '@therapeutic-moe/nn';
import { describeOnBackends, expectClose, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { TwoLayerHost } from '../test/two-layer-host.js';
import { startFromBase } from './base-start.js';
import {
  attachLora,
  attachLoraFromBase,
  detachLora,
  type LoraAdapter,
  type LoraConfig,
  loadAdapterWeights,
  readAdapterConfig,
  saveAdapter,
} from './index.js';

/** Products of float32 in another order, of values around 1. */
const ROUNDING = 1e-5;

const inits = ['pissa', 'pissa_niter_4', 'olora'] as const;
const path = 'layers.1.v_proj';
const settings = { r: 2, loraAlpha: 6, targetModules: ['q_proj', 'v_proj'] };

const input = () => tf.randomNormal([11, 5], 0, 1, 'float32', 2);

/** Stands for training: every factor has moved. */
function change(adapter: LoraAdapter): void {
  for (const [i, factor] of [...adapter.parameters().values()].entries())
    tf.tidy(() => factor.assign(tf.add(factor, tf.randomNormal(factor.shape, 0, 0.3, 'float32', i + 1))));
}

const bitsOf = async (host: TwoLayerHost) => [...(await (host.linear(path) as Linear).weight.data())];

describeOnBackends('attachLoraFromBase', () => {
  for (const initLoraWeights of inits) {
    it(`${initLoraWeights}: starts with the base's outputs, takes over a part of it, and gives back every bit`, async () => {
      const [host, x] = [new TwoLayerHost(), input()];
      const [bits, before] = [await bitsOf(host), host.linear(path).apply(x)];
      const adapter = await attachLoraFromBase(host, { ...settings, initLoraWeights }, 3);
      const fresh = host.linear(path).apply(x);
      await expectClose(fresh, before, ROUNDING);
      const { a, b } = adapter.layers.get(path)!;
      const size = tf.tidy(() => tf.max(tf.abs(tf.matMul(a as tf.Tensor2D, b as tf.Tensor2D))));
      expect((await size.data())[0]).toBeGreaterThan(0.05);
      change(adapter);
      detachLora(host, adapter);
      expect(await bitsOf(host)).toEqual(bits);
      tf.dispose([x, before, fresh, size]);
      host.dispose();
    });

    it(`${initLoraWeights}: computes residual and update, beside and merged, with DoRA and dropout as without`, async () => {
      for (const changes of [{}, { useRslora: true, rankPattern: { v_proj: 3 } }, { useDora: true }]) {
        const [host, x] = [new TwoLayerHost(), input()];
        const base = host.linear(path) as Linear;
        const adapter = await attachLoraFromBase(host, { ...settings, ...changes, initLoraWeights }, 3);
        const { a, b, config, magnitude } = adapter.layers.get(path)!;
        const residual = tf.tidy(() =>
          tf.sub(base.weight, tf.mul(tf.matMul(a as tf.Tensor2D, b as tf.Tensor2D), config.scale)),
        );
        change(adapter);
        const byHand = tf.tidy(() => {
          const adapted = tf.add(residual, tf.mul(tf.matMul(a as tf.Tensor2D, b as tf.Tensor2D), config.scale));
          const whole = magnitude
            ? tf.mul(tf.div(adapted, tf.norm(adapted, 'euclidean', 0)), magnitude.vector)
            : adapted;
          return tf.add(tf.matMul(x as tf.Tensor2D, whole as tf.Tensor2D), base.bias!);
        });
        const beside = host.linear(path).apply(x);
        await expectClose(beside, byHand, ROUNDING);
        adapter.merge();
        const merged = host.linear(path).apply(x);
        await expectClose(merged, byHand, ROUNDING);
        tf.dispose([x, residual, byHand, beside, merged]);
        host.dispose();
      }
    });

    it(`${initLoraWeights}: is saved as a plain adapter of twice the rank for the base as it is`, async () => {
      const directory = await mkdtemp(join(tmpdir(), 'lora-'));
      const patterns = { rankPattern: { v_proj: 3 }, alphaPattern: { '0.q_proj': 5 } };
      for (const changes of [patterns, { ...patterns, useRslora: true }, { useDora: true }] as Partial<LoraConfig>[]) {
        const [host, plain, x] = [new TwoLayerHost(), new TwoLayerHost(), input()];
        const adapter = await attachLoraFromBase(host, { ...settings, ...changes, initLoraWeights }, 3);
        change(adapter);
        await saveAdapter(adapter, directory);
        const config = await readAdapterConfig(directory);
        expect(config).toMatchObject({ r: 4, initLoraWeights: true });
        const copy = attachLora(plain, config, 1);
        await loadAdapterWeights(copy, directory);
        for (const each of adapter.layers.keys()) {
          const [ours, theirs] = [host.linear(each).apply(x), plain.linear(each).apply(x)];
          await expectClose(theirs, ours, ROUNDING);
          tf.dispose([ours, theirs]);
        }
        x.dispose();
        host.dispose();
        plain.dispose();
      }
      await rm(directory, { recursive: true });
    });

    it(`${initLoraWeights}: trains what PEFT trains and drops the inputs that it drops`, async () => {
      const [host, x] = [new TwoLayerHost(), tf.ones([1, 5])];
      const base = host.linear(path) as Linear;
      const adapter = await attachLoraFromBase(host, { ...settings, loraDropout: 0.5, initLoraWeights }, 3);
      const { a, b, config } = adapter.layers.get(path)!;
      const residual = tf.tidy(() => tf.sub(base.weight, tf.mul(tf.matMul(a as tf.Tensor2D, b as tf.Tensor2D), 3)));
      change(adapter);
      const dropped = host.linear(path).apply(x, { dropoutSeed: 7 });
      // Of ones, dropout leaves each input as 0 or 2: one of 32 possible answers.
      const gap = tf.tidy(() => {
        const masks = tf.tensor2d(
          Array.from({ length: 32 }, (_, mask) => Array.from({ length: 5 }, (_, i) => 2 * ((mask >> i) & 1))),
        );
        const added = tf.mul(tf.matMul(tf.matMul(masks, a as tf.Tensor2D), b as tf.Tensor2D), config.scale);
        const answers = tf.add(tf.matMul(x as tf.Tensor2D, residual as tf.Tensor2D), added);
        return tf.min(tf.max(tf.abs(tf.sub(answers, dropped)), 1));
      });
      expect((await gap.data())[0]).toBeLessThan(ROUNDING * 10);
      const { value, grads } = tf.variableGrads(() => tf.sum(host.linear(path).apply(x)) as tf.Scalar, [a, b]);
      const expected = tf.tidy(() => tf.mul(tf.outerProduct(tf.ones([5]), tf.sum(b, 1) as tf.Tensor1D), config.scale));
      await expectClose(grads[a.name]!, expected, ROUNDING);
      tf.dispose([x, residual, dropped, gap, value, grads, expected]);
      host.dispose();
    });
  }

  it('pissa takes the largest singular values, less than which nothing of that rank is left', async () => {
    const [whole, iterated] = await Promise.all(
      (['pissa', 'pissa_niter_16'] as const).map(async (initLoraWeights) => {
        const host = new TwoLayerHost();
        const adapter = await attachLoraFromBase(host, { ...settings, initLoraWeights }, 3);
        const product = tf.tidy(() => {
          const { a, b } = adapter.layers.get(path)!;
          return tf.matMul(a as tf.Tensor2D, b as tf.Tensor2D);
        });
        host.dispose();
        return product;
      }),
    );
    await expectClose(whole!, iterated!, ROUNDING);
    tf.dispose([whole!, iterated!]);
  });

  it('serves adapters that start so beside others, by sequence', async () => {
    const [host, x] = [new TwoLayerHost(), input()];
    const adapter = await attachLoraFromBase(host, { ...settings, initLoraWeights: 'olora' }, 3, 'one');
    change(adapter);
    const alone = host.linear(path).apply(x);
    change(attachLora(host, settings, 5, 'two'));
    const both = tf.tidy(() => host.linear(path).apply(tf.concat([x, x]), { adapters: ['one', null] }));
    const [first, second] = tf.split(both, 2);
    await expectClose(first!, alone, ROUNDING);
    detachLora(host, adapter);
    const plain = host.linear(path).apply(x, { adapters: [null] });
    await expectClose(second!, plain, ROUNDING);
    tf.dispose([x, alone, both, first!, second!, plain]);
    host.dispose();
  });

  it('looks whether there is room for it before it decomposes anything', async () => {
    const host = new TwoLayerHost();
    attachLora(host, settings, 1, 'first');
    const beyond = { ...settings, r: 4, initLoraWeights: 'pissa' } as const; // decomposing would refuse the rank
    await expect(attachLoraFromBase(host, beyond, 1, 'first')).rejects.toThrow("has an adapter 'first' already");
    host.dispose();
  });

  it('refuses to decompose what takes hours, with the way out for a new adapter and for one of PEFT', async () => {
    const weight = tf.zeros<tf.Rank.R2>([2053, 2063]);
    const config = { r: 2, scale: 1, loraDropout: 0, useDora: false, initLoraWeights: 'pissa' } as const;
    const refused = startFromBase(weight, config, 'q_proj', 1);
    await expect(refused).rejects.toThrow("all of q_proj [2053,2063], which takes hours; 'pissa_niter_16' finds");
    await expect(refused).rejects.toThrow("save it with PEFT's path_initial_model_for_weight_conversion");
    weight.dispose();
  });

  it('refuses a rank beyond a side of the weight, a base with a merged adapter, and attachLora', async () => {
    const host = new TwoLayerHost();
    const pissa = { ...settings, initLoraWeights: 'pissa' } as const;
    await expectNoLeak(async () => {
      await expect(attachLoraFromBase(host, { ...pissa, rankPattern: { '1.v_proj': 4 } }, 1)).rejects.toThrow(
        "lora: initLoraWeights 'pissa' finds no 4 directions in layers.1.v_proj [5,3]; give it a rank of 3 or less",
      );
    });
    expect(() => attachLora(host, pissa, 1)).toThrow(
      "'pissa' reads the base weights first; use await attachLoraFromBase.",
    );
    attachLora(host, settings, 1, 'first').merge();
    await expect(attachLoraFromBase(host, pissa, 1, 'second')).rejects.toThrow(
      "adapter 'first' is merged into the base",
    );
    host.dispose();
  });

  it('leaves nothing behind', async () => {
    await expectNoLeak(async () => {
      for (const initLoraWeights of inits) {
        const host = new TwoLayerHost();
        detachLora(host, await attachLoraFromBase(host, { ...settings, useDora: true, initLoraWeights }, 1));
        host.dispose();
      }
    });
  });
});

describeOnBackends('PEFT files that were not converted', () => {
  it.each(['pissa', 'olora'] as const)('%s: are met by the same part of the base', async (initLoraWeights) => {
    const directory = await mkdtemp(join(tmpdir(), 'lora-'));
    const [host, copy, x] = [new TwoLayerHost(), new TwoLayerHost(), input()];
    const adapter = await attachLoraFromBase(host, { ...settings, initLoraWeights }, 3);
    change(adapter);
    // What PEFT writes without conversion: the factors as they are trained.
    const plain = new TwoLayerHost();
    const factors = attachLora(plain, settings, 1);
    for (const [name, factor] of factors.parameters()) factor.assign(adapter.parameters().get(name)!);
    await saveAdapter(factors, directory);
    const file = join(directory, 'adapter_config.json');
    const json = JSON.parse(await readFile(file, 'utf8'));
    await writeFile(file, JSON.stringify({ ...json, init_lora_weights: initLoraWeights }));
    const loaded = await attachLoraFromBase(copy, await readAdapterConfig(directory), 9);
    await loadAdapterWeights(loaded, directory);
    const [ours, theirs] = [host.linear(path).apply(x), copy.linear(path).apply(x)];
    await expectClose(theirs, ours, ROUNDING);
    await writeFile(file, JSON.stringify({ ...json, init_lora_weights: 'pissa_niter_4' }));
    await expect(readAdapterConfig(directory)).rejects.toThrow('found with random numbers and is not in these files');
    tf.dispose([x, ours, theirs]);
    for (const each of [host, copy, plain]) each.dispose();
    await rm(directory, { recursive: true });
  });
});
