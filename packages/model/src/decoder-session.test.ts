import * as tf from '@tensorflow/tfjs-core';
import { ConcatKvCache, type RopeScaling } from '@therapeutic-moe/attention';
import { describeOnBackends, expectClose } from '@therapeutic-moe/test-kit';
import { describe, expect, it } from 'vitest';
import { mixtures } from '../test/mixtures.js';
import { logitsOf, tinyConfig, tinyModel } from '../test/tiny-model.js';
import { CausalLm, type DecoderSession } from './index.js';

/** float32 sums in another order, through two layers. */
const CLOSE = 2e-5;
/** The same, through transformers as experts. */
const LOOKS_ALONG = 1e-4;
/** Keys and values off by up to 1 / 254 of the largest of their head, through two layers, against logits of some 1. */
const INT8 = 0.05;
const ids = [3, 1, 4, 1, 5, 9, 2];
const longrope = { type: 'longrope', factor: 4, shortFactor: [1, 1, 2], longFactor: [1, 3, 5] } as const;

async function lastLogits(session: DecoderSession, pieces: readonly (readonly number[])[]): Promise<Float32Array> {
  let logits: Float32Array = new Float32Array();
  for (const piece of pieces) logits = (await session.append(piece)).logits;
  return logits;
}

describeOnBackends('DecoderSession', (backend) => {
  it('gives the logits of the whole pass: at once, in chunks, token by token', async () => {
    const model = tinyModel();
    const expected = (await logitsOf(model, ids)).slice(6 * 13);
    for (const pieces of [[ids], [ids.slice(0, 3), ids.slice(3, 5), ids.slice(5)], ids.map((id) => [id])]) {
      const session = model.createSession();
      await expectClose(await lastLogits(session, pieces), expected, CLOSE);
      expect(session.length).toBe(7);
      session.dispose();
    }
    model.dispose();
  });

  it('counts visits: k per token and layer', async () => {
    const model = tinyModel();
    const session = model.createSession();
    const { expertCounts } = await session.append(ids);
    expect(expertCounts.length).toBe(3);
    expect(expertCounts.reduce((sum, count) => sum + count, 0)).toBe(7 * 2 * 2);
    session.dispose();
    model.dispose();
  });

  it('knows the visits of the tokens that it holds, also after going back', async () => {
    const model = tinyModel();
    const [session, other] = [model.createSession(), model.createSession()];
    expect([...session.expertCounts]).toEqual([0, 0, 0]);
    await session.append([...ids.slice(0, 5), 11, 12]);
    session.reuse(ids);
    const fork = session.fork();
    const first = await other.append(ids.slice(0, 5));
    for (const each of [session, fork, other]) expect([...each.expertCounts]).toEqual([...first.expertCounts]);
    const rest = await session.append(ids.slice(5));
    expect([...session.expertCounts]).toEqual([...first.expertCounts].map((count, e) => count + rest.expertCounts[e]!));
    for (const each of [session, fork, other]) each.dispose();
    model.dispose();
  });

  it('has no visits to count in a dense model', async () => {
    const model = tinyModel({ mixture: undefined });
    const session = model.createSession();
    expect((await session.append(ids)).expertCounts.length).toBe(0);
    session.dispose();
    model.dispose();
  });

  it('refuses ids and lengths by their words, and keeps working', async () => {
    const model = tinyModel();
    const session = model.createSession();
    await session.append(ids.slice(0, 4));
    await expect(session.append([])).rejects.toThrow('session.append: there are no ids; append at least one.');
    await expect(session.append([1, 13])).rejects.toThrow('id 13 at position 1 is outside the vocabulary of 13.');
    for (const bad of [-1, 0.5, Number.NaN]) await expect(session.append([bad])).rejects.toThrow(`id ${bad} at`);
    await expect(session.append(new Array(14).fill(1))).rejects.toThrow(
      "4 + 14 tokens exceed the model's 17 positions",
    );
    expect(session.length).toBe(4);
    await expectClose(await lastLogits(session, [ids.slice(4)]), (await logitsOf(model, ids)).slice(6 * 13), CLOSE);
    session.dispose();
    model.dispose();
  });

  it('takes back a pass that failed between two layers', async () => {
    const model = tinyModel();
    const session = model.createSession();
    await session.append(ids.slice(0, 4));
    const path = 'model.layers.1.self_attn.k_proj';
    const linear = model.linears().get(path)!.layer;
    const { inputSize, outputSize } = linear;
    const broken = () => {
      throw new Error('out of memory');
    };
    const parameters = () => linear.parameters();
    const before = tf.memory().numTensors;
    model.replaceLinear(path, { inputSize, outputSize, apply: broken, parameters, dispose: () => {} });
    await expect(session.append(ids.slice(4))).rejects.toThrow('out of memory');
    expect([session.length, tf.memory().numTensors]).toEqual([4, before]);
    model.replaceLinear(path, linear);
    await expectClose(await lastLogits(session, [ids.slice(4)]), (await logitsOf(model, ids)).slice(6 * 13), CLOSE);
    session.dispose();
    model.dispose();
  });

  describe.each<[string, RopeScaling]>([
    ['dynamic', { type: 'dynamic', factor: 3, originalMaxPositionEmbeddings: 4 }],
    ['longrope', { ...longrope, originalMaxPositionEmbeddings: 4 }],
  ])('with %s scaling, whose angles follow the length', (_, ropeScaling) => {
    it('gives the logits of the whole pass within the original length, across it and past it', async () => {
      const model = tinyModel({ ropeScaling });
      for (const pieces of [[ids], [ids.slice(0, 3), ids.slice(3, 5), ids.slice(5)], ids.map((id) => [id])]) {
        const session = model.createSession();
        let taken: number[] = [];
        for (const piece of pieces) {
          taken = [...taken, ...piece];
          const { logits } = await session.append(piece);
          await expectClose(logits, (await logitsOf(model, taken)).slice(-13), CLOSE);
          expect(session.length).toBe(taken.length);
          expect(session.expertCounts.reduce((sum, count) => sum + count, 0)).toBe(taken.length * 2 * 2);
        }
        session.dispose();
      }
      model.dispose();
    });

    it('counts the visits of the tokens that are new, read anew or not', async () => {
      const mixture = { numExperts: 3, numExpertsPerTok: 2, softmaxOrder: 'before-top-k', normTopkProb: true } as const;
      const model = tinyModel({ ropeScaling, mixture });
      const session = model.createSession();
      for (const piece of [ids.slice(0, 3), ids.slice(3, 5), ids.slice(5)]) {
        const { expertCounts } = await session.append(piece);
        expect(expertCounts.reduce((sum, count) => sum + count, 0)).toBe(piece.length * 2 * 2);
      }
      session.dispose();
      model.dispose();
    });

    it('takes back a pass that failed across the original length, and leaves nothing behind', async () => {
      const model = tinyModel({ ropeScaling });
      const gate = model.parameters().get('model.norm.weight')!;
      const [sound, broken] = [tf.clone(gate), tf.fill(gate.shape, Number.NaN)];
      const before = tf.memory().numTensors;
      const session = model.createSession();
      await session.append(ids.slice(0, 4));
      const held = tf.memory().numTensors;
      gate.assign(broken);
      await expect(session.append(ids.slice(4))).rejects.toThrow('the logits are not finite');
      expect([session.length, tf.memory().numTensors]).toEqual([4, held]);
      gate.assign(sound);
      await expectClose(await lastLogits(session, [ids.slice(4)]), (await logitsOf(model, ids)).slice(6 * 13), CLOSE);
      expect(tf.memory().numTensors).toBe(held);
      const late = session.append([7]); // disposed while it reads
      session.dispose();
      await late;
      expect(tf.memory().numTensors).toBe(before);
      tf.dispose([sound, broken]);
      model.dispose();
    });

    it('reuses nothing of tokens that were read at other angles', async () => {
      const model = tinyModel({ ropeScaling });
      const session = model.createSession();
      await session.append(ids);
      expect(session.reuse(ids.slice(0, 4))).toBe(0);
      await expectClose(
        await lastLogits(session, [ids.slice(0, 4)]),
        (await logitsOf(model, ids.slice(0, 4))).slice(-13),
        CLOSE,
      );
      session.dispose();
      model.dispose();
    });

    it('is refused by a pass whose cache would hold other angles', () => {
      const model = tinyModel({ ropeScaling });
      const cache = new ConcatKvCache(17);
      tf.tidy(() => {
        model.forward(tf.tensor2d([ids.slice(0, 4)], [1, 4], 'int32'), { cache });
        expect(() => model.forward(tf.tensor2d([[1]], [1, 1], 'int32'), { cache })).toThrow(
          `model.forward: with ${ropeScaling.type} scaling the 4 tokens in the cache turn otherwise once there are 5; read all of them anew`,
        );
      });
      cache.dispose();
      model.dispose();
    });
  });

  it('forks: two answers share one prompt', async () => {
    const model = tinyModel();
    const session = model.createSession();
    await session.append(ids.slice(0, 4));
    const fork = session.fork();
    await session.append([11, 12]);
    expect([session.length, fork.length]).toEqual([6, 4]);
    await expectClose(await lastLogits(fork, [[5], [9, 2]]), (await logitsOf(model, ids)).slice(6 * 13), CLOSE);
    session.dispose();
    await expectClose(await lastLogits(fork, [[6]]), (await logitsOf(model, [...ids, 6])).slice(7 * 13), CLOSE);
    fork.dispose();
    model.dispose();
  });

  it('reuses the longest beginning that it shares with a text, and leaves one token to append', async () => {
    const model = tinyModel();
    const session = model.createSession();
    expect(session.reuse(ids)).toBe(0);
    await session.append([3, 1, 4, 1, 6, 6]);
    for (const [text, kept] of [
      [ids, 4],
      [ids, 6],
      [[...ids, 8], 7],
      [ids.slice(0, 3), 2],
      [[7, 7], 0],
    ] as const) {
      expect(session.reuse(text)).toBe(kept);
      expect(session.length).toBe(kept);
      const expected = (await logitsOf(model, text)).slice(-13);
      await expectClose(await lastLogits(session, [text.slice(kept)]), expected, CLOSE);
    }
    session.dispose();
    model.dispose();
  });

  it('reuses nothing of what it cannot go back to: a window that moved on', async () => {
    const config = { ...tinyConfig({ maxPositionEmbeddings: 41 }), slidingWindow: 2 };
    const model = CausalLm.create(config, 1);
    const session = model.createSession();
    for (const id of [...ids, ...ids]) await session.append([id]);
    expect(session.reuse(ids)).toBe(0);
    await expectClose(await lastLogits(session, [ids]), (await logitsOf(model, ids)).slice(-13), CLOSE);
    session.dispose();
    model.dispose();
  });

  // SwiftShader compiles the shaders of these parts for most of a minute.
  it.skipIf(backend === 'webgpu')(
    'forks, and reuses nothing, where routers and experts look along the text',
    async () => {
      const mixture = mixtures['supervisor, transformer experts']!;
      const model = tinyModel({ hiddenSize: 10, intermediateSize: 14, mixture });
      const session = model.createSession();
      await session.append(ids.slice(0, 4));
      const fork = session.fork();
      expect(session.reuse([3, 1, 6])).toBe(0);
      for (const [each, rest] of [
        [session, ids],
        [fork, ids.slice(4)],
      ] as const) {
        await expectClose(await lastLogits(each, [rest]), (await logitsOf(model, ids)).slice(-13), LOOKS_ALONG);
        expect(each.reuse([...ids, 8])).toBe(7); // goes on
        each.dispose();
      }
      model.dispose();
    },
  );

  it('keeps keys and values in 8 bits where asked', async () => {
    const model = tinyModel({ headDim: 8 });
    const [session, exact] = [model.createSession({ kvCache: 'int8' }), model.createSession()];
    await expectClose(await lastLogits(session, [[3, 1, 4], [1], [5, 9], [2]]), await lastLogits(exact, [ids]), INT8);
    expect(session.kvBytes / exact.kvBytes).toBe((8 + 4) / (4 * 8));
    session.dispose();
    exact.dispose();
    model.dispose();
  });

  it('holds its cache and nothing else, and nothing once disposed', async () => {
    const model = tinyModel();
    const before = tf.memory().numTensors;
    const session = model.createSession();
    for (const id of ids) {
      await session.append([id]);
      expect(tf.memory().numTensors - before).toBe(2 * 2); // keys and values of two layers
    }
    session.dispose();
    expect(tf.memory().numTensors).toBe(before);
    await expect(session.append([1])).rejects.toThrow('session.append: the session is disposed; create a new one.');
    model.dispose();
  });
});
