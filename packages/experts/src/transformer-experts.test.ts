import * as tf from '@tensorflow/tfjs-core';
import { dispatchRows } from '@therapeutic-moe/kernels';
import type { StackedLayer } from '@therapeutic-moe/nn';
import { capacityPlan, type Routing, type SequenceCache } from '@therapeutic-moe/router';
import { describeOnBackends, expectClose, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { applyExperts, applyPlanned, type Dispatch, TransformerExperts } from './index.js';

const EXPERTS = 3;
const K = 2;
const HIDDEN = 5;
/** float32 sums of a few products in another order. */
const SUM = 2e-5;

const create = () =>
  TransformerExperts.create(
    { experts: EXPERTS, hidden: HIDDEN, intermediate: 14, heads: 2 },
    { deviation: 0.6, downDeviation: 0.5, rmsNormEps: 1e-5, seed: 3 },
  );

const randomTokens = (count: number) => tf.randomNormal<tf.Rank.R2>([count, HIDDEN], 0, 1, 'float32', 5);

/** Tokens `from` to `to` of a fixed choice of experts. */
function routing(from: number, to: number): Routing {
  const pairs = [[1, 0], [2, 1], [0, 2], [1, 2], [2, 0]]; // biome-ignore format: pairs
  const count = to - from;
  const token = Array.from({ length: count }, (_, t) => from + t);
  return {
    logits: tf.zeros([count, EXPERTS]),
    probabilities: tf.fill([count, EXPERTS], 1 / EXPERTS),
    indices: tf.tensor2d(
      token.flatMap((t) => pairs[(t * t + t) % pairs.length]!),
      [count, K],
      'int32',
    ),
    weights: tf.tensor2d(
      token.flatMap((t) => [0.3 + (t % 3) / 10, 0.7 - (t % 4) / 10]),
      [count, K],
    ),
    gates: [],
  };
}

/** A cache that grows by concatenation. */
class GrowingCache implements SequenceCache {
  readonly held = new Map<string, { k: tf.Tensor4D; v: tf.Tensor4D }>();

  append(key: string, k: tf.Tensor4D, v: tf.Tensor4D): { k: tf.Tensor4D; v: tf.Tensor4D } {
    const old = this.held.get(key);
    const grown = {
      k: tf.keep(old ? tf.concat4d([old.k, k], 1) : tf.clone(k)),
      v: tf.keep(old ? tf.concat4d([old.v, v], 1) : tf.clone(v)),
    };
    if (old) tf.dispose([old.k, old.v]);
    this.held.set(key, grown);
    return grown;
  }

  dispose(): void {
    for (const { k, v } of this.held.values()) tf.dispose([k, v]);
  }
}

describeOnBackends('TransformerExperts', (backend) => {
  const dispatches: Dispatch[] = ['sorted', 'dense'];
  // WebGPU cannot read which rows are an expert's: there the dense form decodes.
  const decoding: Dispatch[] = backend === 'webgpu' ? ['dense'] : dispatches;

  it('with one expert is causal attention within each sequence', async () => {
    const layer = TransformerExperts.create(
      { experts: 1, hidden: HIDDEN, intermediate: 7, heads: 1 },
      { deviation: 0.6, downDeviation: 0.5, rmsNormEps: 1e-5, seed: 3 },
    );
    const [batch, seq] = [2, 3];
    const hidden = randomTokens(batch * seq);
    const all = tf.ones<tf.Rank.R1>([batch * seq]);
    const output = layer.applyExpert(hidden, 0, all, { sequences: { batch, seq } });
    const plain = tf.tidy(() => {
      const matrix = (stack: StackedLayer) =>
        tf.reshape<tf.Rank.R2>(stack.parameters().get('weight')!, [stack.inputSize, stack.outputSize]);
      const { encoder, qkv, attentionOutput, decoder, confidence } = layer.parts;
      return tf.concat(
        (tf.split(hidden, batch) as tf.Tensor2D[]).map((x) => {
          const state = tf.matMul(x, matrix(encoder));
          const normed = tf.div(state, tf.sqrt(tf.add(tf.mean(tf.square(state), -1, true), 1e-5)));
          const [q, k, v] = tf.split(tf.matMul(normed as tf.Tensor2D, matrix(qkv)), 3, 1) as tf.Tensor2D[];
          const rows = Array.from({ length: seq }, (_, t) => {
            const [query, seen, values] = [
              tf.slice(q!, [t, 0], [1, -1]),
              tf.slice(k!, [0, 0], [t + 1, -1]),
              tf.slice(v!, [0, 0], [t + 1, -1]),
            ];
            return tf.matMul(tf.softmax(tf.div(tf.matMul(query, seen, false, true), Math.sqrt(7))), values);
          });
          const attended = tf.add(
            state,
            tf.matMul(tf.concat2d(rows as tf.Tensor2D[], 0), matrix(attentionOutput)),
          ) as tf.Tensor2D;
          return tf.mul(tf.matMul(attended, matrix(decoder)), tf.sigmoid(tf.matMul(attended, matrix(confidence))));
        }),
      );
    });
    await expectClose(output, plain, SUM);
    tf.dispose([hidden, all, output, plain]);
    layer.dispose();
  });

  for (const dispatch of dispatches) {
    it(`never lets a later token or another sequence change an output: ${dispatch}`, async () => {
      const sequences = { batch: 2, seq: 7 };
      const [layer, hidden, choice] = [create(), randomTokens(14), routing(0, 14)];
      const before = applyExperts(hidden, choice, layer, { dispatch, pass: { sequences } });
      for (const changed of [3, 9]) {
        const pushed = tf.tidy(() => {
          const hot = tf.cast(tf.oneHot(tf.tensor1d([changed], 'int32'), 14), 'float32');
          return tf.add(hidden, tf.mul(tf.transpose(hot), 3)) as tf.Tensor2D;
        });
        const after = applyExperts(pushed, choice, layer, { dispatch, pass: { sequences } });
        const moved = tf.tidy(() => tf.max(tf.abs(tf.sub(after, before)), 1));
        const sizes = [...(await moved.data())];
        const sequenceEnd = changed < 7 ? 7 : 14;
        for (const [t, size] of sizes.entries()) {
          if (t < changed || t >= sequenceEnd) expect(size, `token ${t}`).toBeLessThan(1e-6);
        }
        expect(sizes[changed]).toBeGreaterThan(1e-3);
        expect(Math.max(...sizes.slice(changed + 1, sequenceEnd))).toBeGreaterThan(1e-3); // it is seen later on
        tf.dispose([pushed, after, moved]);
      }
      tf.dispose([hidden, choice, before]);
      layer.dispose();
    });
  }

  for (const dispatch of decoding) {
    it(`decodes token by token what it gives as a whole: ${dispatch}`, async () => {
      const seq = 11;
      const [layer, hidden, whole] = [create(), randomTokens(seq), routing(0, seq)];
      const expected = applyExperts(hidden, whole, layer, { dispatch, pass: { sequences: { batch: 1, seq } } });
      const cache = new GrowingCache();
      const pieces: tf.Tensor[] = [];
      for (const [from, to] of [
        [0, 4],
        [4, 5],
        [5, 6],
        [6, 8],
        [8, 9],
        [9, 10],
        [10, 11],
      ] as const) {
        // biome-ignore format: pairs
        const [piece, choice] = [tf.slice(hidden, [from, 0], [to - from, -1]), routing(from, to)];
        const pass = { sequences: { batch: 1, seq: to - from }, cache };
        pieces.push(applyExperts(piece, choice, layer, { dispatch, pass }));
        tf.dispose([piece, choice]);
      }
      const decoded = tf.concat(pieces);
      await expectClose(decoded, expected, SUM);
      tf.dispose([hidden, whole, expected, pieces, decoded]);
      cache.dispose();
      layer.dispose();
    });
  }

  it('decodes with places left over too', async () => {
    const seq = 5;
    const [layer, hidden, whole] = [create(), randomTokens(seq), routing(0, seq)];
    const plan = capacityPlan(whole.indices, whole.weights, { experts: EXPERTS, capacity: seq, dropBy: 'position' });
    const cache = new GrowingCache();
    const run = (pass: object) =>
      applyPlanned(hidden, whole.weights, layer, plan, { sequences: { batch: 1, seq }, ...pass });
    const expected = run({});
    if (backend === 'webgpu') {
      expect(() => run({ cache })).toThrow("a backend that reads at once, not 'webgpu'; use dispatch 'dense'.");
    } else {
      const cached = run({ cache });
      await expectClose(cached, expected, SUM);
      cached.dispose();
    }
    const { complete: _, offsets: __, ...tensors } = plan;
    tf.dispose([hidden, whole, expected, { ...tensors }]);
    cache.dispose();
    layer.dispose();
  });

  it('tells the confidence that is in its output', async () => {
    const [layer, hidden, choice] = [create(), randomTokens(7), routing(0, 7)];
    const pass = { sequences: { batch: 1, seq: 7 } };
    const { confidence, decoder } = layer.parts;
    const plan = capacityPlan(choice.indices, choice.weights, { experts: EXPERTS, capacity: 7, dropBy: 'position' });
    const groups = { ...plan, tokens: 7 };
    const rows = dispatchRows(hidden, plan);
    const [sure, output] = [layer.confidences(rows, groups, pass), layer.applyGrouped(rows, groups, pass)];
    for (const weight of confidence.parameters().values()) tf.tidy(() => weight.assign(tf.zerosLike(weight)));
    const [even, halved] = [layer.confidences(rows, groups, pass), layer.applyGrouped(rows, groups, pass)];
    const expected = tf.tidy(() => tf.mul(tf.mul(halved, 2), tf.expandDims(sure, 1)));
    expect(sure.shape).toEqual([EXPERTS * 7]);
    await expectClose(even, new Array(EXPERTS * 7).fill(0.5), 1e-6);
    await expectClose(output, expected, SUM);
    expect(decoder.outputSize).toBe(HIDDEN);
    const cache = new GrowingCache();
    expect(() => layer.confidences(rows, groups, { ...pass, cache })).toThrow('leave out pass.cache');
    const { complete: _, offsets: __, ...tensors } = plan;
    tf.dispose([hidden, choice, rows, sure, output, even, halved, expected, { ...tensors }]);
    layer.dispose();
  });

  it('leaves nothing behind but what the cache holds', async () => {
    const [layer, hidden, choice] = [create(), randomTokens(3), routing(0, 3)];
    for (const dispatch of decoding) {
      await expectNoLeak(() => {
        const cache = new GrowingCache();
        const pass = { sequences: { batch: 1, seq: 3 }, cache };
        const output = applyExperts(hidden, choice, layer, { dispatch, pass });
        cache.dispose();
        return output;
      });
    }
    tf.dispose([hidden, choice]);
    layer.dispose();
  });

  it('refuses parts, heads and passes that do not fit', () => {
    const [layer, hidden, choice] = [create(), randomTokens(6), routing(0, 6)];
    const { parts } = layer;
    expect(() => new TransformerExperts({ ...parts, qkv: parts.decoder }, 2)).toThrow(
      'TransformerExperts: qkv must be [3, 14, 42], got [3, 14, 5].',
    );
    expect(() => new TransformerExperts(parts, 4)).toThrow('4 heads cannot share a size of 14; use a divisor of it.');
    const dispatch = 'dense';
    expect(() => applyExperts(hidden, choice, layer, { dispatch })).toThrow(
      'give the pass { sequences: { batch, seq } }',
    );
    const pass = { sequences: { batch: 2, seq: 3 }, cache: new GrowingCache() };
    expect(() => applyExperts(hidden, choice, layer, { dispatch, pass })).toThrow(
      'a cache serves one sequence, got a batch of 2; decode one at a time.',
    );
    tf.dispose([hidden, choice]);
    layer.dispose();
  });
});
