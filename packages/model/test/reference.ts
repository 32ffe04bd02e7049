import * as tf from '@tensorflow/tfjs-core';
import { expectClose } from '@therapeutic-moe/test-kit';
import { expect } from 'vitest';
import type { CausalLm } from '../src/index.js';

/** What a float32 implementation promises of the logits of small checkpoints (transformers 5.18, peft 0.21). */
const LOGITS = 1e-4;

/** What another implementation computes for some ids: `expected.json` of a fixture. */
export interface Expected {
  readonly ids: readonly number[];
  /** Of the last position. */
  readonly logits: readonly number[];
  /** At every position. */
  readonly all_argmax: readonly number[];
  /** The tokens that follow, each by a pass over all before it. */
  readonly greedy: readonly number[];
  readonly adapter?: Omit<Expected, 'ids'>;
}

/** Logits, every argmax, and greedy tokens decoded with the cache. @param steps most tokens to decode. */
export async function expectEqualToReference(
  model: CausalLm,
  ids: readonly number[],
  expected: Omit<Expected, 'ids'>,
  steps = Number.POSITIVE_INFINITY,
): Promise<void> {
  const { logits, best } = tf.tidy(() => {
    const { logits } = model.forward(tf.tensor2d([...ids], [1, ids.length], 'int32'));
    return {
      logits: tf.reshape(tf.slice(logits, [0, ids.length - 1, 0], [1, 1, -1]), [-1]),
      best: tf.argMax(logits, -1),
    };
  });
  await expectClose(logits, [...expected.logits], LOGITS);
  expect([...(await best.data())]).toEqual(expected.all_argmax);
  tf.dispose([logits, best]);
  const session = model.createSession();
  const tokens = expected.greedy.slice(0, steps);
  const greedy: number[] = [];
  for (let next = ids; greedy.length < tokens.length; next = [greedy.at(-1)!]) {
    const { logits } = await session.append(next);
    greedy.push(logits.indexOf(Math.max(...logits)));
  }
  session.dispose();
  expect(greedy).toEqual(tokens);
}

/** Greedy tokens by a pass over the whole text each. @param steps most tokens to decode. */
export async function expectGreedyWithoutCache(
  model: CausalLm,
  ids: readonly number[],
  expected: Omit<Expected, 'ids'>,
  steps = Number.POSITIVE_INFINITY,
): Promise<void> {
  const tokens = expected.greedy.slice(0, steps);
  const greedy: number[] = [];
  while (greedy.length < tokens.length) {
    const text = [...ids, ...greedy];
    const best = tf.tidy(() => {
      const { logits } = model.forward(tf.tensor2d(text, [1, text.length], 'int32'), { lastOnly: true });
      return tf.argMax(logits, -1);
    });
    greedy.push((await best.data())[0]!);
    best.dispose();
  }
  expect(greedy).toEqual(tokens);
}
