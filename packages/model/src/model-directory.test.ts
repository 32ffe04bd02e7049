import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { type NamedArray, openCheckpoint, writeSafetensors } from '@therapeutic-moe/checkpoint';
import { attachLora, detachLora } from '@therapeutic-moe/lora';
import { describeOnBackends, expectClose } from '@therapeutic-moe/test-kit';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { logitsOf, tinyModel } from '../test/tiny-model.js';
import { writeStored } from '../test/write-stored.js';
import { type CausalLm, loadModelDirectory, saveModelDirectory } from './index.js';

const ids = [3, 1, 4, 1, 5, 9, 2];
/** Relative to the largest logit: 11 and 8 bits of each weight are kept, and errors add up over two layers. */
const HALF = { F16: 4e-3, BF16: 4e-2 } as const;

describeOnBackends('a model folder', () => {
  let directory: string;
  let model: CausalLm;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'model-'));
    model = tinyModel();
  });
  afterEach(async () => {
    model.dispose();
    await rm(directory, { recursive: true });
  });

  const weights = () => join(directory, 'model.safetensors');

  /** Writes the checkpoint again with other tensors. */
  async function rewrite(change: (tensors: NamedArray[]) => NamedArray[]): Promise<void> {
    const reader = await openCheckpoint(weights());
    const tensors: NamedArray[] = [];
    for (const name of reader.names) {
      tensors.push({ name, shape: reader.entry(name).shape, data: await reader.read(name) });
    }
    await reader.close();
    await writeSafetensors(weights(), change(tensors));
  }

  for (const [name, overrides] of [
    ['a mixture', {}],
    ['a dense model with a tied head', { mixture: undefined, tieWordEmbeddings: true }],
  ] as const) {
    it(`written and read gives the same logits, bit for bit: ${name}`, async () => {
      const original = tinyModel(overrides);
      await saveModelDirectory(original, directory);
      const loaded = await loadModelDirectory(directory);
      expect(loaded.config).toEqual(original.config);
      expect(await logitsOf(loaded, ids)).toEqual(await logitsOf(original, ids));
      original.dispose();
      loaded.dispose();
    });
  }

  it('writes all of a model, whatever the memory held before', async () => {
    await saveModelDirectory(model, directory);
    tf.dispose([...model.parameters().values()].map(({ shape }) => tf.fill(shape, Number.NaN)));
    const loaded = await loadModelDirectory(directory);
    for (const [path, parameter] of loaded.parameters()) await expectClose(parameter, model.parameters().get(path)!, 0);
    loaded.dispose();
  });

  for (const dtype of ['F16', 'BF16'] as const) {
    it(`in ${dtype} gives nearly the same logits, and the same file when written again`, async () => {
      await saveModelDirectory(model, directory, { dtype });
      const first = await readFile(weights());
      const loaded = await loadModelDirectory(directory);
      const [exact, rounded] = [await logitsOf(model, ids), await logitsOf(loaded, ids)];
      const largest = Math.max(...exact.map(Math.abs));
      await expectClose(
        rounded.map((logit) => logit / largest),
        exact.map((logit) => logit / largest),
        HALF[dtype],
      );
      expect(rounded).not.toEqual(exact);
      await saveModelDirectory(loaded, directory, { dtype });
      expect((await readFile(weights())).equals(first)).toBe(true);
      loaded.dispose();
    });
  }

  it('is refused when a tensor is missing, surplus or of another shape, and nothing is left behind', async () => {
    const gate = 'model.layers.1.block_sparse_moe.gate.weight';
    const before = tf.memory().numTensors;
    for (const [change, message] of [
      [
        (all: NamedArray[]) => all.filter(({ name }) => name !== gate),
        `lacks ${gate} [3,5], which config.json asks for`,
      ],
      [
        (all: NamedArray[]) => [...all, { name: 'model.extra', shape: [2], data: new Float32Array(2) }],
        "model.extra [2] fits nothing in this model; is config.json another model's?",
      ],
      [
        (all: NamedArray[]) => all.map((t) => (t.name === gate ? { ...t, shape: [5, 3] } : t)),
        `${gate} must be [3,5] by config.json, got [5,3].`,
      ],
    ] as const) {
      await saveModelDirectory(model, directory);
      await rewrite(change);
      await expect(loadModelDirectory(directory)).rejects.toThrow(message);
    }
    expect(tf.memory().numTensors).toBe(before);
  });

  it('is refused when a tensor is of another type, naming the file', async () => {
    const gate = 'model.layers.1.block_sparse_moe.gate.weight';
    await saveModelDirectory(model, directory);
    const before = tf.memory().numTensors;
    for (const [dtype, width] of [
      ['I64', 8],
      ['F64', 8],
      ['F8_E4M3', 1],
      ['I8', 1],
    ] as const) {
      await writeStored(weights(), [{ name: gate, dtype, shape: [3, 5], bytes: new Uint8Array(15 * width) }]);
      await expect(loadModelDirectory(directory)).rejects.toThrow(
        `${weights()}: ${gate} must be stored as F32, F16, BF16, got ${dtype}`,
      );
    }
    expect(tf.memory().numTensors).toBe(before);
  });

  it('may hold the rotary frequencies of older exports', async () => {
    await saveModelDirectory(model, directory);
    const name = 'model.layers.0.self_attn.rotary_emb.inv_freq';
    await rewrite((all) => [...all, { name, shape: [3], data: new Float32Array(3) }]);
    (await loadModelDirectory(directory)).dispose();
  });

  it('is refused when a file is cut off, absent or not JSON', async () => {
    await saveModelDirectory(model, directory);
    const { length } = await readFile(weights());
    await truncate(weights(), length - 10);
    await expect(loadModelDirectory(directory)).rejects.toThrow('model.safetensors');
    await writeFile(join(directory, 'config.json'), '{ "model_type": ');
    await expect(loadModelDirectory(directory)).rejects.toThrow('config.json: not valid JSON.');
    await writeFile(join(directory, 'config.json'), 'null');
    await expect(loadModelDirectory(directory)).rejects.toThrow(
      'config.json: the content must be an object, got null.',
    );
    await rm(join(directory, 'config.json'));
    await expect(loadModelDirectory(directory)).rejects.toThrow('config.json: cannot be read; a model folder holds');
  });

  it('is not written for a model with an adapter on it, and in our own layout where Mixtral cannot say it', async () => {
    const adapter = attachLora(model, { r: 2 }, 1);
    await expect(saveModelDirectory(model, directory)).rejects.toThrow('self_attn.q_proj carries an adapter');
    detachLora(model, adapter);
    const plain = tinyModel({ mixture: { ...model.config.mixture!, normTopkProb: false } });
    await saveModelDirectory(plain, directory); // Mixtral always renormalises
    expect(JSON.parse(await readFile(join(directory, 'config.json'), 'utf8')).model_type).toBe('therapeutic_moe');
    await saveModelDirectory(model, directory);
    expect(JSON.parse(await readFile(join(directory, 'config.json'), 'utf8')).model_type).toBe('mixtral');
    plain.dispose();
  });
});
