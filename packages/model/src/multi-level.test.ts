import * as tf from '@tensorflow/tfjs-core';
import { ConcatKvCache } from '@therapeutic-moe/attention';
import { attachLora } from '@therapeutic-moe/lora';
import { describeOnBackends, expectClose, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { logitsOf, tinyConfig, tinyModel } from '../test/tiny-model.js';
import { writeAndRead } from '../test/write-and-read.js';
import { type CausalLm, type ConfigOverrides, countParameters, trainable } from './index.js';
import { parameterShapes } from './parameter-shapes.js';

/** float32 sums in another order, through two layers of weights of deviation 0.5. */
const CLOSE = 1e-4;
const VOCAB = 13;
const ids = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5];
/** A text many times as long as what is kept of it at full resolution. */
const text = Array.from({ length: 41 }, (_, i) => (i * i + 3 * i) % VOCAB);
const far: ConfigOverrides = {
  maxPositionEmbeddings: 41,
  attention: { kind: 'multi-level', window: 3, strides: [2, 3, 7] },
};

/** With gates that tell levels apart: fresh ones are zero. */
function modelOf(overrides: ConfigOverrides = {}): CausalLm {
  const model = tinyModel({ attention: { kind: 'multi-level', window: 3 }, ...overrides });
  for (const [path, variable] of model.parameters())
    if (path.endsWith('level_gate.weight'))
      tf.tidy(() => variable.assign(tf.randomNormal(variable.shape, 0, 1, 'float32', 3)));
  return model;
}

const sizeOf = (variables: ReadonlyMap<string, tf.Variable>) =>
  [...variables.values()].reduce((sum, { size }) => sum + size, 0);

describeOnBackends('a model with multi-level attention', (backend) => {
  const slow = backend === 'webgpu'; // SwiftShader compiles for most of a minute

  it('decodes in pieces as one pass computes, and takes back a pass that failed half-way', {
    timeout: slow ? 240_000 : undefined,
  }, async () => {
    const model = modelOf();
    const whole = await logitsOf(model, ids);
    const before = tf.memory().numTensors;
    const session = model.createSession();
    const path = 'model.layers.1.self_attn.o_proj';
    const linear = model.linears().get(path)!.layer;
    const broken = () => {
      throw new Error('out of memory');
    };
    const { inputSize, outputSize } = linear;
    let taken = 0;
    for (const length of slow ? [3, 8] : [3, 1, 1, 4, 1, 1]) {
      const piece = ids.slice(taken, taken + length);
      model.replaceLinear(path, { ...linear, inputSize, outputSize, apply: broken });
      await expect(session.append(piece)).rejects.toThrow('out of memory');
      model.replaceLinear(path, linear);
      expect(session.length).toBe(taken);
      taken += length;
      const { logits } = await session.append(piece);
      await expectClose(logits, whole.slice((taken - 1) * VOCAB, taken * VOCAB), CLOSE);
    }
    session.dispose();
    expect(tf.memory().numTensors).toBe(before);
    model.dispose();
  });

  it.skipIf(slow).each([
    ['token by token', new Array(41).fill(1)],
    ['in chunks', [3, 11, 1, 2, 13, 1, 6, 4]],
    ['a long prompt, then tokens', [29, ...new Array(12).fill(1)]],
  ])('decodes far past its window in memory that levels alone let grow: %s', async (_, lengths: number[]) => {
    const model = modelOf(far);
    const whole = await logitsOf(model, text);
    const session = model.createSession();
    let taken = 0;
    for (const length of lengths) {
      const { logits } = await session.append(text.slice(taken, taken + length));
      taken += length;
      await expectClose(logits, whole.slice((taken - 1) * VOCAB, taken * VOCAB), CLOSE);
    }
    expect(model.keptTokens).toBe(7); // the longest block, above the window
    session.dispose();
    model.dispose();
  });

  it.skipIf(slow)('takes back failed passes, forks and goes on far past its window', async () => {
    const model = modelOf({ ...far, mixture: undefined }); // experts would refuse what is not finite before the end
    const whole = await logitsOf(model, text);
    const session = model.createSession();
    const last = (ended: number) => whole.slice((ended - 1) * VOCAB, ended * VOCAB);
    await session.append(text.slice(0, 20));
    const path = 'model.layers.1.self_attn.o_proj';
    const linear = model.linears().get(path)!.layer;
    const { inputSize, outputSize } = linear;
    const fails = {
      'out of memory': () => {
        throw new Error('out of memory');
      },
      'the logits are not finite': (x: tf.Tensor) => tf.mul(linear.apply(x), Number.NaN),
    };
    let taken = 20;
    for (const length of [1, 9, 1]) {
      const piece = text.slice(taken, taken + length);
      for (const [words, apply] of Object.entries(fails)) {
        model.replaceLinear(path, { ...linear, inputSize, outputSize, apply });
        await expect(session.append(piece)).rejects.toThrow(words);
        model.replaceLinear(path, linear);
        expect(session.length).toBe(taken);
      }
      const fork = session.fork();
      taken += length;
      for (const each of [fork, session]) await expectClose((await each.append(piece)).logits, last(taken), CLOSE);
      fork.dispose();
    }
    expect(session.reuse(text)).toBe(taken); // goes on
    await expectClose((await session.append(text.slice(taken))).logits, last(41), CLOSE);
    expect(session.reuse([...text.slice(0, 12), 0])).toBe(0); // levels do not go back
    await expectClose((await session.append(text.slice(0, 12))).logits, last(12), CLOSE);
    session.dispose();
    model.dispose();
  });

  it.skipIf(slow)('never lets a later token change earlier logits', async () => {
    const model = modelOf();
    const before = await logitsOf(model, ids);
    for (const [position, id] of ids.entries()) {
      const after = await logitsOf(model, ids.with(position, (id + 1) % VOCAB));
      expect(after.slice(0, position * VOCAB)).toEqual(before.slice(0, position * VOCAB));
      expect(after).not.toEqual(before);
    }
    model.dispose();
  });

  it.skipIf(slow)('has the variables that its config tells, and each of them learns', async () => {
    const model = modelOf();
    const shapes = (variables: Map<string, { shape: readonly number[] }>) =>
      [...variables].map(([path, { shape }]) => `${path} [${shape}]`).sort();
    expect(shapes(model.parameters())).toEqual(shapes(parameterShapes(model.config)));
    expect(model.parameters().get('model.layers.0.self_attn.level_gate.weight')!.shape).toEqual([5, 4 * 3]);
    expect(countParameters(model.config).total).toBe(sizeOf(model.parameters()));
    const target = trainable(model, { klBalance: 0, zLoss: 0, domainSupervision: 0 });
    const batch = {
      batch: 1,
      seq: 11,
      ids: Int32Array.from(ids),
      targets: Int32Array.from(ids, (id) => (id + 4) % VOCAB),
      mask: new Uint8Array(11).fill(1),
      domains: new Int32Array(11).fill(-1),
    };
    const gradients = () =>
      tf.variableGrads(() => target.loss(batch, { tokensInStep: 11 }).total, [...target.parameters().values()]);
    const { value, grads } = gradients();
    for (const [path, { name }] of target.parameters())
      expect(Math.max(...(await grads[name]!.data()).map(Math.abs)), path).toBeGreaterThan(0);
    tf.dispose([value, grads]);
    await expectNoLeak(() => {
      const { value, grads } = gradients();
      return [value, ...Object.values(grads)];
    });
    model.dispose();
  });

  it.skipIf(slow)('is written in our own layout and read to the same bits', async () => {
    const model = modelOf();
    const { loaded, json } = await writeAndRead(model);
    expect([json.model_type, json.config.attention]).toEqual([
      'therapeutic_moe',
      { kind: 'multi-level', window: 3, strides: [2, 4] },
    ]);
    expect(loaded.config).toEqual(model.config);
    expect(await logitsOf(loaded, ids)).toEqual(await logitsOf(model, ids));
    model.dispose();
    loaded.dispose();
  });

  it.skipIf(slow)('takes adapters on its projections, and a fresh one changes nothing', async () => {
    const model = modelOf();
    const before = await logitsOf(model, ids);
    const lora = { r: 3, targetModules: ['q_proj', 'k_proj', 'v_proj', 'o_proj'] };
    const adapter = attachLora(model, lora, 1);
    expect(sizeOf(adapter.parameters())).toBe(countParameters(model.config, lora).trainable);
    expect(await logitsOf(model, ids)).toEqual(before);
    model.dispose();
  });

  it.skipIf(slow)('refuses a cache of keys and values alone', () => {
    const model = modelOf();
    const [input, cache] = [tf.tensor2d([ids], [1, ids.length], 'int32'), new ConcatKvCache(17)];
    expect(() => model.forward(input, { cache })).toThrow('a pass with cache needs sequenceCache too');
    tf.dispose(input);
    cache.dispose();
    model.dispose();
  });
});

it('a config refuses kinds and levels of attention that cannot be', () => {
  const refuse = (attention: unknown, words: string) =>
    expect(() => tinyConfig({ attention: attention as never })).toThrow(words);
  refuse({ kind: 'two-level' }, "model config: attention: kind must be 'multi-level' or 'domain', got 'two-level'");
  refuse({ kind: 'multi-level' }, 'multi-level attention: window must be a whole number of 1 or more, got undefined');
  refuse({ kind: 'multi-level', window: 3, levels: 2 }, 'levels');
  expect(() => tinyConfig({ attention: { kind: 'multi-level', window: 3 }, slidingWindow: 5 })).toThrow(
    "model config: attention: slidingWindow is 5, but kind 'multi-level' has a window of its own",
  );
  refuse('none', 'model config: attention must be an object, got "none"');
  expect(tinyConfig({ attention: { kind: 'multi-level', window: 3 } }).attention).toEqual({
    kind: 'multi-level',
    window: 3,
    strides: [2, 4],
  });
});
