import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { Linear } from '@therapeutic-moe/nn';
import { describeOnBackends, expectClose } from '@therapeutic-moe/test-kit';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { move } from '../test/move.js';
import { TwoLayerHost } from '../test/two-layer-host.js';
import { Adapters, attachLora, detachLora, loadAdapter, mergeLora, saveAdapter } from './index.js';

/** What orders of the same sums may differ by. */
const ROUNDING = 1e-5;

const path = 'layers.1.v_proj';
const x = () => tf.randomNormal([3, 5], 0, 1, 'float32', 2);

describeOnBackends('Adapters', () => {
  let directory: string;
  let host: TwoLayerHost;
  let adapters: Adapters;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'adapters-'));
    host = new TwoLayerHost();
    adapters = new Adapters(host);
  });
  afterEach(async () => {
    host.dispose();
    await rm(directory, { recursive: true });
  });

  const answer = () => tf.tidy(() => host.linear(path).apply(x()));
  const add = (name: string, seed: number, settings = {}) =>
    move(adapters.add(name, { r: 2, targetModules: ['v_proj'], ...settings }, seed), seed);
  const save = async () => {
    const other = new TwoLayerHost();
    await saveAdapter(move(attachLora(other, { r: 3, targetModules: ['v_proj'] }, 5), 5), directory);
    other.dispose();
  };

  it('answer one at a time, several as a sum, none as the base', async () => {
    const base = answer();
    add('warm', 1);
    add('calm', 2, { r: 3, useDora: true });
    const idle = answer();
    await expectClose(idle, base, 0);
    adapters.use('warm');
    const warm = answer();
    adapters.use('calm');
    const calm = answer();
    adapters.use('calm', 'warm');
    expect(adapters.active).toEqual(['calm', 'warm']);
    const both = answer();
    const sum = tf.tidy(() => tf.sub(tf.add(warm, calm), base));
    await expectClose(both, sum, ROUNDING);
    const without = await adapters.without(answer);
    await expectClose(without, base, 0);
    expect(adapters.active).toEqual(['calm', 'warm']);
    tf.dispose([base, idle, warm, calm, both, sum, without]);
  });

  it('come from folders, switched off, and leave without a trace', async () => {
    await save();
    const [before, base] = [tf.memory().numTensors, host.linear(path)];
    for (const round of [1, 2, 3]) {
      await adapters.load('warm', directory);
      expect([adapters.names, adapters.active]).toEqual([['warm'], []]);
      await adapters.load('calm', directory);
      adapters.use('warm', 'calm');
      adapters.delete('warm');
      expect([adapters.names, adapters.active]).toEqual([['calm'], ['calm']]);
      adapters.delete('calm');
      expect(tf.memory().numTensors, `round ${round}`).toBe(before);
      expect(host.linear(path)).toBe(base);
    }
  });

  it('are the same whoever attached them', async () => {
    await save();
    const adapter = await loadAdapter(host, directory, 'warm');
    expect(adapters.get('warm')).toBe(adapter);
    expect(adapters.active).toEqual(['warm']);
  });

  it('refuse names that are not known or taken, by what there is', async () => {
    await save();
    expect(() => adapters.use('warm')).toThrow("there is no adapter 'warm'; the model has none.");
    add('warm', 1);
    add('calm', 2);
    expect(() => adapters.use('warm', 'cold')).toThrow("there is no adapter 'cold'; the model has warm, calm.");
    expect(() => adapters.delete('cold')).toThrow("there is no adapter 'cold'");
    const before = tf.memory().numTensors;
    await expect(adapters.load('calm', directory)).rejects.toThrow(
      "has an adapter 'calm' already; give the new one another name",
    );
    expect(tf.memory().numTensors).toBe(before);
  });

  it('refuse to switch or to delete while one is merged', () => {
    add('calm', 2);
    const warm = add('warm', 1);
    warm.merge();
    expect(() => adapters.delete('warm')).toThrow("'warm' is merged into the base; unmerge it first.");
    expect(() => adapters.use('calm')).toThrow("'warm' is merged into the base; unmerge it first.");
    expect(() => add('cold', 3)).toThrow("'warm' is merged into the base; unmerge it first, or merge it for good.");
    warm.unmerge();
    adapters.delete('warm');
  });

  it('of another base change nothing', async () => {
    const wide = new TwoLayerHost({ inputSize: 7 });
    await saveAdapter(attachLora(wide, { r: 2, targetModules: ['v_proj'] }, 1), directory);
    add('calm', 2);
    const [before, layers] = [tf.memory().numTensors, [...host.linears().values()].map(({ layer }) => layer)];
    const replaceLinear = vi.spyOn(host, 'replaceLinear');
    await expect(adapters.load('warm', directory)).rejects.toThrow(
      'adapter_model.safetensors: base_model.model.layers.0.v_proj.lora_A.weight must be [2,5], got [2,7]; was the adapter made for another base?',
    );
    expect(replaceLinear).not.toHaveBeenCalled();
    expect(tf.memory().numTensors).toBe(before);
    expect([...host.linears().values()].map(({ layer }) => layer)).toEqual(layers);
    expect(adapters.names).toEqual(['calm']);
    wide.dispose();
  });

  it('merge and unmerge in any order, with the bits of the base in the end', async () => {
    const base = host.linear(path) as Linear;
    const bits = await base.weight.data();
    const [warm, calm] = [add('warm', 1), add('calm', 2, { useDora: true })];
    adapters.use('warm', 'calm');
    const beside = answer();
    warm.merge();
    expect(() => answer()).toThrow("'calm' gives the columns of the plain base lengths, but 'warm' is merged into it");
    calm.merge();
    const merged = answer();
    await expectClose(merged, beside, ROUNDING);
    warm.unmerge();
    const one = answer2(base);
    calm.unmerge();
    expect(await base.weight.data()).toEqual(bits);
    adapters.use('calm');
    const calmBeside = answer();
    await expectClose(one, calmBeside, ROUNDING);
    tf.dispose([beside, merged, one, calmBeside]);
  });

  const answer2 = (base: Linear) => tf.tidy(() => base.apply(x()));

  it('that are off the model are not taken off again, nor for those that took their name', async () => {
    const stale = add('warm', 1);
    adapters.delete('warm');
    const warm = add('warm', 2);
    adapters.use('warm');
    const before = answer();
    for (const [where, end] of Object.entries({ detachLora, mergeLora }))
      expect(() => end(host, stale)).toThrow(`${where}: this adapter 'warm' is not on the model, or not any more`);
    expect(adapters.get('warm')).toBe(warm);
    const after = answer();
    expect(await after.data()).toEqual(await before.data());
    tf.dispose([before, after]);
  });

  it('merged for good leave the others where they are', async () => {
    const [warm, calm] = [add('warm', 1), add('calm', 2)];
    adapters.use('warm', 'calm');
    const before = answer();
    calm.merge();
    expect(() => mergeLora(host, warm)).toThrow("adapter 'calm' is merged into the same weights");
    calm.unmerge();
    mergeLora(host, warm);
    const after = answer();
    await expectClose(after, before, ROUNDING);
    expect(adapters.names).toEqual(['calm']);
    mergeLora(host, calm);
    expect(host.linear(path)).toBeInstanceOf(Linear);
    tf.dispose([before, after]);
  });
});
