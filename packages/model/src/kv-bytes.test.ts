import * as tf from '@tensorflow/tfjs-core';
import { describeOnBackends } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { tinyConfig } from '../test/tiny-model.js';
import {
  blockValuesPerToken,
  CausalLm,
  type ConfigOverrides,
  fullSessionBytes,
  keptTokens,
  kvBytesPerToken,
  kvValuesPerToken,
} from './index.js';

const POSITIONS = 23;
const levels = { kind: 'multi-level', window: 3, strides: [2, 5] } as const;
const models: Readonly<Record<string, ConfigOverrides>> = {
  'all tokens': {},
  'a sliding window': { slidingWindow: 5 },
  'a window that room for twice of does not fit': { slidingWindow: 13 },
  'a window and coarse levels': { attention: levels },
  'a window and levels that never have a block': { attention: { kind: 'multi-level', window: 3, strides: [2, 29] } },
};

describeOnBackends('fullSessionBytes', (backend) => {
  it.skipIf(backend === 'webgpu').each(Object.keys(models))(
    'is what a session takes that has come to the end: %s',
    async (name) => {
      const config = tinyConfig({ headDim: 8, maxPositionEmbeddings: POSITIONS, ...models[name] });
      const model = CausalLm.create(config, 1);
      await model.createSession().append([1]); // makes what a backend keeps for itself
      for (const kvCache of ['float32', 'int8'] as const) {
        const before = tf.memory().numBytes;
        const session = model.createSession({ kvCache });
        const held = () => tf.memory().numBytes - before;
        await session.append(new Array(POSITIONS - 6).fill(1));
        expect(session.kvBytes).toBe(held());
        const fork = session.fork();
        for (let i = 0; i < 6; i++) await session.append([2]);
        expect(session.kvBytes + fork.kvBytes).toBe(held());
        fork.dispose();
        expect(held()).toBe(fullSessionBytes(config, kvCache));
        session.dispose();
      }
      model.dispose();
    },
  );
});

it('counts what a token leaves, and how long', () => {
  const sizes = { headDim: 8, maxPositionEmbeddings: POSITIONS };
  const plain = tinyConfig(sizes);
  const numbers = 2 * 2 * 2 * 8; // layers, keys and values, heads
  expect([keptTokens(plain), blockValuesPerToken(plain)]).toEqual([undefined, 0]);
  expect(kvValuesPerToken(plain)).toBe(numbers);
  expect(fullSessionBytes(plain, 'float32')).toBe(POSITIONS * kvBytesPerToken(plain, 'float32'));
  expect(kvBytesPerToken(plain, 'int8')).toBe(numbers + 4 * 2 * 2 * 2); // and a scale for each token and head
  const withLevels = tinyConfig({ ...sizes, attention: levels });
  expect(keptTokens(withLevels)).toBe(5); // the longest block
  expect(keptTokens(tinyConfig({ ...sizes, attention: { ...levels, window: 7 } }))).toBe(7);
  expect(blockValuesPerToken(withLevels)).toBeCloseTo(numbers * (1 / 2 + 1 / 5), 10);
});
