import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { attachLora, type LoraAdapter, saveAdapter } from '@therapeutic-moe/lora';
import { describeOnBackends, expectClose } from '@therapeutic-moe/test-kit';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { logitsOf, tinyModel } from '../test/tiny-model.js';
import { type CausalLm, loadAdapter, loadModelDirectory, mergeLora, saveModelDirectory } from './index.js';

/** What merged weights may change of the logits. */
const MERGE = 1e-4;
const ids = [3, 1, 4, 1, 5, 9, 2];

/** An adapter as training leaves it: no factor is zero. */
function trainedAdapter(model: CausalLm): LoraAdapter {
  const adapter = attachLora(model, { r: 2, loraAlpha: 4 }, 1);
  for (const [i, { b }] of [...adapter.layers.values()].entries()) {
    tf.tidy(() => b.assign(tf.randomNormal(b.shape, 0, 0.3, 'float32', i + 1)));
  }
  return adapter;
}

describeOnBackends('an adapter on a model', () => {
  let directory: string;
  let model: CausalLm;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'adapter-'));
    model = tinyModel();
  });
  afterEach(async () => {
    model.dispose();
    await rm(directory, { recursive: true });
  });

  it('changes nothing while fresh and something once trained', async () => {
    const base = await logitsOf(model, ids);
    const adapter = attachLora(model, { r: 2 }, 1);
    expect(await logitsOf(model, ids)).toEqual(base);
    for (const { b } of adapter.layers.values()) tf.tidy(() => b.assign(tf.ones(b.shape)));
    const changed = await logitsOf(model, ids);
    expect(Math.max(...changed.map((logit, i) => Math.abs(logit - base[i]!)))).toBeGreaterThan(0.01);
  });

  it('written, then put on the same base again, gives the same logits', async () => {
    await saveAdapter(trainedAdapter(model), directory);
    const other = tinyModel();
    await loadAdapter(other, directory);
    expect(await logitsOf(other, ids)).toEqual(await logitsOf(model, ids));
    other.dispose();
  });

  it('merged for good is a plain model that can be written and read', async () => {
    const adapter = trainedAdapter(model);
    const beside = await logitsOf(model, ids);
    mergeLora(model, adapter);
    expect([...model.parameters().keys()].filter((name) => name.includes('lora'))).toEqual([]);
    await saveModelDirectory(model, directory);
    const loaded = await loadModelDirectory(directory);
    await expectClose(await logitsOf(loaded, ids), beside, MERGE);
    loaded.dispose();
  });

  it('made for another base is refused and leaves the model as it was', async () => {
    const wide = tinyModel({ hiddenSize: 11 });
    await saveAdapter(trainedAdapter(wide), directory);
    const [before, tensors] = [await logitsOf(model, ids), tf.memory().numTensors];
    await expect(loadAdapter(model, directory)).rejects.toThrow('was the adapter made for another base?');
    expect(await logitsOf(model, ids)).toEqual(before);
    expect(tf.memory().numTensors).toBe(tensors);
    attachLora(model, { r: 2 }, 1);
    wide.dispose();
  });
});
