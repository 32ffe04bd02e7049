// One token in one kernel per layer, held against the pass that every backend can do.

import * as tf from '@tensorflow/tfjs-core';
import { ConcatKvCache } from '@therapeutic-moe/attention';
import { Linear } from '@therapeutic-moe/nn';
import { describeOnBackends, expectClose } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { CausalLm, type ModelConfig } from '../src/index.js';
import { tinyConfig, tinyModel } from './tiny-model.js';

/** float32 sums in another order, through two layers. */
const CLOSE = 1e-5;
const prompt = [3, 1, 4, 1, 5];

const mixture = { numExperts: 5, numExpertsPerTok: 2, softmaxOrder: 'before-top-k', normTopkProb: true } as const;

const configs: readonly [name: string, overrides: Partial<ModelConfig>][] = [
  ['grouped-query heads, headDim of its own', {}],
  ['tied head', { tieWordEmbeddings: true }],
  ['as many key-value heads as heads', { hiddenSize: 20, numKeyValueHeads: 4, headDim: 5 * 2 }],
  ['top 1, not normalised', { mixture: { ...mixture, numExpertsPerTok: 1, normTopkProb: false } }],
  ['top 2, not normalised', { mixture: { ...mixture, normTopkProb: false } }],
  ['top 3, softmax after top-k', { mixture: { ...mixture, numExpertsPerTok: 3, softmaxOrder: 'after-top-k' } }],
  ['dense', { mixture: undefined }],
  ['neighbouring pairs', { ropeInterleaved: true }],
  ['stretched positions', { maxPositionEmbeddings: 17, ropeScaling: { type: 'linear', factor: 2 } }],
];

/** Decodes greedily with a cache that cannot be written in place, so by the general pass. */
class GeneralDecoder {
  readonly #cache = new ConcatKvCache(64);
  constructor(private readonly model: CausalLm) {}
  async append(ids: readonly number[]): Promise<Float32Array> {
    const pass = { cache: this.#cache, lastOnly: true };
    const logits = tf.tidy(() => this.model.forward(tf.tensor2d([...ids], [1, ids.length], 'int32'), pass).logits);
    const values = await logits.data<'float32'>();
    logits.dispose();
    return values;
  }
  dispose(): void {
    this.#cache.dispose();
  }
}

const greatest = (logits: Float32Array) => logits.indexOf(Math.max(...logits));

/** Bytes of the wasm backend's memory, which never shrinks; 0 elsewhere. */
function heapBytes(): number {
  const { wasm } = tf.backend() as unknown as { wasm?: { asm: { memory: WebAssembly.Memory } } };
  return wasm?.asm.memory.buffer.byteLength ?? 0;
}

/** How many layers ran in one kernel. */
async function fusedLayers(run: () => Promise<unknown>): Promise<number> {
  const { kernels } = await tf.profile(run as () => Promise<tf.TensorContainer>);
  return kernels.filter(({ name }) => name === 'DecodeLayer').length;
}

describeOnBackends('decoding one token', (backend) => {
  const layers = backend === 'wasm' ? 2 : 0;
  const [swept, tokens] = backend === 'wasm' ? [configs, 20] : [configs.slice(0, 1), 3]; // elsewhere the two are one way

  it.each(swept)('gives the logits, choices and greedy ids of the general pass: %s', async (_, overrides) => {
    const model = tinyModel({ maxPositionEmbeddings: 41, ...overrides });
    const [session, general] = [model.createSession(), new GeneralDecoder(model)];
    let [logits, expected] = [(await session.append(prompt)).logits, await general.append(prompt)];
    for (let i = 0; i < tokens; i++) {
      await expectClose(logits, expected, CLOSE);
      const id = greatest(logits);
      expect(id).toBe(greatest(expected));
      const { expertCounts, ...step } = await session.append([id]);
      const perToken = model.config.mixture?.numExpertsPerTok ?? 0;
      expect(expertCounts.reduce((sum, count) => sum + count, 0)).toBe(2 * perToken);
      [logits, expected] = [step.logits, await general.append([id])];
    }
    expect(await fusedLayers(() => session.append([1]))).toBe(layers);
    session.dispose();
    general.dispose();
    model.dispose();
  });

  it('slides its cache with the window of attention, at true positions', async () => {
    const config = { ...tinyConfig({ maxPositionEmbeddings: 41 }), slidingWindow: 5 };
    const model = CausalLm.create(config, 1);
    expect(model.keptTokens).toBe(5);
    const [session, general] = [model.createSession(), new GeneralDecoder(model)];
    for (const piece of [prompt, [9], [2], [6], [5, 3], [5], [8], [9], [7, 9, 3, 2, 3, 8, 4, 6, 2, 6, 4], [3], [3]]) {
      await expectClose((await session.append(piece)).logits, await general.append(piece), CLOSE);
    }
    expect(await fusedLayers(() => session.append([1]))).toBe(layers);
    const room = 2 * 5;
    expect([session.length, session.kvBytes]).toEqual([27, 2 * 2 * room * 2 * 6 * 4]); // layers, k and v, rows, heads
    session.dispose();
    general.dispose();
    model.dispose();
  });

  it('starts from nothing, and takes pieces and single tokens in any order', async () => {
    const model = tinyModel();
    const [session, general] = [model.createSession(), new GeneralDecoder(model)];
    for (const piece of [[3], [1], [4, 1, 5], [9], [2, 6], [5], [3]]) {
      await expectClose((await session.append(piece)).logits, await general.append(piece), CLOSE);
    }
    session.dispose();
    general.dispose();
    model.dispose();
  });

  it('runs a layer with a bias by the general pass and the others as before', async () => {
    const model = tinyModel();
    const path = 'model.layers.1.self_attn.v_proj';
    const { weight } = model.linears().get(path)!.layer as Linear;
    const bias = tf.tidy(() => tf.variable(tf.randomNormal([weight.shape[1]!], 0, 1, 'float32', 5)));
    model.replaceLinear(path, new Linear(weight, bias));
    const [session, general] = [model.createSession(), new GeneralDecoder(model)];
    for (const piece of [prompt, [9], [2]]) {
      await expectClose((await session.append(piece)).logits, await general.append(piece), CLOSE);
    }
    expect(await fusedLayers(() => session.append([1]))).toBe(Math.min(1, layers));
    session.dispose();
    general.dispose();
    model.dispose();
  });

  // The dense dispatch of WebGPU cannot look at the weights and gives NaN.
  it.skipIf(backend === 'webgpu')('names the layer whose gate is not finite, and takes the token back', async () => {
    const model = tinyModel();
    const [session, general] = [model.createSession(), new GeneralDecoder(model)];
    await session.append(prompt);
    await general.append(prompt);
    const gate = model.parameters().get('model.layers.1.block_sparse_moe.gate.weight')!;
    const sound = tf.clone(gate);
    const broken = tf.fill(gate.shape, Number.NaN);
    const before = tf.memory().numTensors;
    gate.assign(broken);
    await expect(session.append([9])).rejects.toThrow(/^model\.layers\.1: .* is NaN; .* not finite\.$/);
    expect([session.length, tf.memory().numTensors]).toEqual([prompt.length, before]);
    gate.assign(sound);
    await expectClose((await session.append([9])).logits, await general.append([9]), CLOSE);
    tf.dispose([sound, broken]);
    session.dispose();
    general.dispose();
    model.dispose();
  });

  it('neither leaks nor grows the heap over 200 tokens', async () => {
    const model = tinyModel({ maxPositionEmbeddings: 401 });
    const session = model.createSession();
    const decode = async (count: number) => {
      for (let i = 0; i < count; i++) await session.append([i % 13]);
    };
    await decode(backend === 'wasm' ? 150 : 5); // past the cache's last growth but one
    const [tensors, bytes] = [tf.memory().numTensors, heapBytes()];
    await decode(backend === 'wasm' ? 200 : 5);
    expect([tf.memory().numTensors, heapBytes()]).toEqual([tensors, bytes]);
    session.dispose();
    model.dispose();
  });
});
