import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { openCheckpoint } from '@therapeutic-moe/checkpoint';
import type { StackedLinear } from '@therapeutic-moe/nn';
import { describeOnBackends, expectClose, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { ExpertHost } from '../test/expert-host.js';
import { move } from '../test/move.js';
import {
  Adapters,
  attachLora,
  detachLora,
  type LoraConfig,
  LoraStackedLinear,
  loadAdapter,
  mergeLora,
  saveAdapter,
} from './index.js';

/** Sums of products of float32 in another order. */
const ROUNDING = 1e-5;

const path = 'experts.down_proj';
const settings: Partial<LoraConfig> = {
  r: 2,
  loraAlpha: 6,
  targetModules: [],
  targetParameters: ['experts.gate_up_proj', path],
  rankPattern: { 'experts.gate_up_proj': 3 },
};
const offsets = [0, 4, 4, 11];
const input = () => tf.randomNormal<tf.Rank.R2>([13, 7], 0, 1, 'float32', 2);

describeOnBackends('LoraStackedLinear', () => {
  it('changes nothing while fresh, and is W + scale A B of each expert once trained, in both forms', async () => {
    const [host, x] = [new ExpertHost(), input()];
    const base = host.stack(path) as StackedLinear;
    const adapter = attachLora(host, settings, 1);
    const [plain, fresh] = [base.applyGrouped(x, offsets), host.stack(path).applyGrouped(x, offsets)];
    await expectClose(fresh, plain, 0);
    move(adapter, 1);
    const { a, b } = adapter.stacks.get(path)!;
    const weights = tf.tidy(() => tf.add(base.weight, tf.mul(tf.matMul(a as tf.Tensor, b as tf.Tensor), 3)));
    const grouped = host.stack(path).applyGrouped(x, offsets);
    for (const [expert, first, count] of [
      [0, 0, 4],
      [2, 4, 7],
    ] as const) {
      const [byHand, part, alone] = tf.tidy(() => {
        const rows = tf.slice(x, [first, 0], [count, -1]);
        const weight = tf.reshape(tf.slice(weights, [expert, 0, 0], [1, -1, -1]), [7, 5]);
        const part = tf.slice(grouped, [first, 0], [count, -1]);
        return [tf.matMul(rows, weight as tf.Tensor2D), part, host.stack(path).applyExpert(rows, expert)];
      });
      await expectClose(part!, byHand!, ROUNDING);
      await expectClose(alone!, byHand!, ROUNDING);
      tf.dispose([byHand!, part!, alone!]);
    }
    tf.dispose([x, plain, fresh, weights, grouped]);
    host.dispose();
  });

  it('has the gradients of that product', async () => {
    const [host, x, weights] = [new ExpertHost(), input(), tf.randomNormal([13, 5], 0, 1, 'float32', 4)];
    const adapter = move(attachLora(host, settings, 1), 1);
    const { a, b } = adapter.stacks.get(path)!;
    const base = (host.stack(path) as LoraStackedLinear).base as StackedLinear;
    const formula = (a: tf.Tensor, b: tf.Tensor, x: tf.Tensor) => {
      const adapted = tf.add(base.weight, tf.mul(tf.matMul(a, b), 3));
      const rows = [0, 2].map((expert, i) =>
        tf.matMul(
          tf.slice(x, [offsets[2 * i]!, 0], [offsets[2 * i + 1]! - offsets[2 * i]!, -1]) as tf.Tensor2D,
          tf.reshape(tf.slice(adapted, [expert, 0, 0], [1, -1, -1]), [7, 5]) as tf.Tensor2D,
        ),
      );
      return tf.sum(tf.mul(tf.concat([...rows, tf.zeros([2, 5])]), weights));
    };
    const expected = tf.grads((...values: tf.Tensor[]) => formula(values[0]!, values[1]!, values[2]!))([a, b, x]);
    const loss = () => tf.sum(tf.mul(host.stack(path).applyGrouped(x, offsets), weights)) as tf.Scalar;
    const { value, grads } = tf.variableGrads(loss, [a, b]);
    await expectClose(grads[a.name]!, expected[0]!, 1e-4);
    await expectClose(grads[b.name]!, expected[1]!, 1e-4);
    const toInput = tf.grad((rows) =>
      tf.sum(tf.mul(host.stack(path).applyGrouped(rows as tf.Tensor2D, offsets), weights)),
    )(x);
    await expectClose(toInput, expected[2]!, 1e-4);
    tf.dispose([x, weights, expected, value, grads, toInput]);
    host.dispose();
  });

  it('merged equals beside, unmerged and detached has the bits it had, and merged for good is plain', async () => {
    const [host, x] = [new ExpertHost(), input()];
    const base = host.stack(path) as StackedLinear;
    const before = await base.weight.data();
    const adapter = move(attachLora(host, settings, 1), 1);
    const beside = host.stack(path).applyGrouped(x, offsets);
    adapter.merge();
    expect(adapter.merged).toBe(true);
    const merged = host.stack(path).applyGrouped(x, offsets);
    await expectClose(merged, beside, ROUNDING);
    adapter.unmerge();
    expect(await base.weight.data()).toEqual(before);
    detachLora(host, adapter);
    expect(host.stack(path)).toBe(base);
    expect(await base.weight.data()).toEqual(before);
    mergeLora(host, move(attachLora(host, settings, 1), 1));
    expect(host.stack(path)).toBe(base);
    const forGood = base.applyGrouped(x, offsets);
    await expectClose(forGood, beside, ROUNDING);
    tf.dispose([x, beside, merged, forGood]);
    host.dispose();
  });

  it('refuses to merge twice, and what does not fit merging', () => {
    const host = new ExpertHost();
    for (const [i, name] of ['one', 'two'].entries()) attachLora(host, settings, i, name);
    const stack = host.stack(path) as LoraStackedLinear;
    expect(() => stack.unmerge('one')).toThrow("LoraStackedLinear.unmerge: adapter 'one' is not merged.");
    expect(() => stack.absorb('one')).toThrow("LoraStackedLinear.absorb: only 'one' must be merged, got [].");
    stack.merge('one');
    expect(() => stack.merge('one')).toThrow("LoraStackedLinear.merge: adapter 'one' is merged already");
    expect(() => stack.remove('one')).toThrow("LoraStackedLinear.remove: adapter 'one' is merged; call unmerge first.");
    stack.merge('two');
    expect(() => stack.absorb('one')).toThrow("only 'one' must be merged, got [one, two].");
    host.dispose();
  });

  it('sums the adapters that are switched on', async () => {
    const [host, x] = [new ExpertHost(), input()];
    const adapters = new Adapters(host);
    for (const [name, seed] of [
      ['one', 1],
      ['two', 2],
    ] as const)
      move(adapters.add(name, settings, seed), seed);
    const through = (...names: string[]) => {
      adapters.use(...names);
      return host.stack(path).applyGrouped(x, offsets);
    };
    const [none, one, two, both] = [through(), through('one'), through('two'), through('one', 'two')];
    const sum = tf.tidy(() => tf.sub(tf.add(one, two), none));
    await expectClose(both, sum, ROUNDING);
    adapters.delete('one');
    adapters.delete('two');
    expect(host.stack(path)).not.toBeInstanceOf(LoraStackedLinear);
    tf.dispose([x, none, one, two, both, sum]);
    host.dispose();
  });

  it('is written and read under the names and in the shapes of PEFT', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'lora-'));
    const [host, copy, x] = [new ExpertHost(), new ExpertHost(), input()];
    await saveAdapter(move(attachLora(host, settings, 1), 1), directory);
    const reader = await openCheckpoint(join(directory, 'adapter_model.safetensors'));
    expect(reader.names.map((name) => [name, reader.entry(name).shape])).toEqual([
      ['base_model.model.experts.base_layer.lora_A.weight', [9, 5]],
      ['base_model.model.experts.base_layer.lora_B.weight', [14, 9]],
      ['base_model.model.experts.lora_A.weight', [6, 7]],
      ['base_model.model.experts.lora_B.weight', [5, 6]],
    ]);
    await reader.close();
    await loadAdapter(copy, directory);
    const [ours, theirs] = [host.stack(path).applyGrouped(x, offsets), copy.stack(path).applyGrouped(x, offsets)];
    await expectClose(theirs, ours, 0);
    tf.dispose([x, ours, theirs]);
    for (const each of [host, copy]) each.dispose();
    await rm(directory, { recursive: true });
  });

  it('refuses what PEFT refuses there, and to be changed by operations on experts', () => {
    const host = new ExpertHost();
    for (const [changes, message] of [
      [{ loraDropout: 0.1 }, 'lora: targetParameters does not go with loraDropout 0.1; leave it out, or adapt linears'],
      [{ useDora: true }, 'lora: targetParameters does not go with useDora true'],
      [{ initLoraWeights: 'olora' }, 'lora: targetParameters does not go with initLoraWeights "olora"'],
      [{ targetParameters: ['down_proj', 'down_proj'] }, "lora: targetParameters names 'down_proj' twice"],
    ] as const)
      expect(() => attachLora(host, { ...settings, ...changes }, 1)).toThrow(message);
    attachLora(host, settings, 1);
    expect(() => host.stack(path).rebuild(tf.clone)).toThrow('these experts carry an adapter; merge it for good or');
    host.dispose();
  });

  it('leaves nothing behind', async () => {
    await expectNoLeak(() => {
      const [host, x] = [new ExpertHost(), input()];
      const adapter = attachLora(host, settings, 1);
      tf.dispose([host.stack(path).applyGrouped(x, offsets), host.stack(path).applyExpert(x, 1), x]);
      adapter.merge();
      detachLora(host, adapter);
      attachLora(host, settings, 2).merge();
      host.dispose();
    });
  });
});
