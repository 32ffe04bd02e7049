import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { dims, refuseUnknownKeys } from './index.js';
import '@therapeutic-moe/test-kit';

describe('dims', () => {
  it('reads sizes by name', () => {
    const x = tf.zeros([2, 3, 5]);
    expect(dims('x', x, ['batch', 'seq', 'hidden'])).toEqual({ batch: 2, seq: 3, hidden: 5 });
    x.dispose();
  });

  it('refuses another rank, and a size that is not the expected one', () => {
    const x = tf.zeros([2, 3]);
    expect(() => dims('route: hidden', x, ['batch', 'seq', 'hidden'])).toThrow(
      'route: hidden must be [batch, seq, hidden], got [2, 3].',
    );
    expect(() => dims('route: hidden', x, ['tokens', 'hidden'], { hidden: 5 })).toThrow(
      'route: hidden must be [tokens, 5], got [2, 3].',
    );
    x.dispose();
  });
});

describe('refuseUnknownKeys', () => {
  it('names the unknown key and the known ones', () => {
    expect(() => refuseUnknownKeys('lora', { r: 4 }, ['r', 'loraAlpha'])).not.toThrow();
    expect(() => refuseUnknownKeys('lora', { rank: 4 }, ['r', 'loraAlpha'])).toThrow(
      "lora: unknown key 'rank'; known are r, loraAlpha.",
    );
  });
});
