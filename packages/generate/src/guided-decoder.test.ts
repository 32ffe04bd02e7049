import { describe, expect, it } from 'vitest';
import type { Decoder } from './decoder.js';
import { guidedDecoder } from './guided-decoder.js';

/** Two tokens: after prompt 7 token 1 is three times as likely as without it. */
function fakeDecoder(): { decoder: Decoder; open: () => number } {
  let open = 0;
  const decoder: Decoder = {
    vocabSize: 2,
    maxPositions: 16,
    createSession() {
      const seen: number[] = [];
      open++;
      return {
        get length() {
          return seen.length;
        },
        async append(ids) {
          seen.push(...ids);
          const odds = seen.includes(7) ? 3 : 1;
          return { logits: Float32Array.of(5, 5 + Math.log(odds)), expertCounts: Float32Array.of(ids.length) };
        },
        dispose() {
          open--;
        },
      };
    },
  };
  return { decoder, open: () => open };
}

const odds = (logits: Float32Array) => Math.exp(logits[1]! - logits[0]!);

describe('guidedDecoder', () => {
  it('multiplies the odds that the prompt gives by its scale in the exponent', async () => {
    for (const [scale, expected] of [
      [1, 3],
      [2, 9],
      [1.5, 3 ** 1.5],
    ] as const) {
      const session = guidedDecoder(fakeDecoder().decoder, { scale, unconditionalIds: [0] }).createSession();
      expect(odds((await session.append([7, 0])).logits)).toBeCloseTo(expected, 4);
      expect(odds((await session.append([1])).logits)).toBeCloseTo(expected, 4);
      session.dispose();
    }
  });

  it('is the plain model up to a constant at scale 1, and reports only the visits of the prompted sequence', async () => {
    const session = guidedDecoder(fakeDecoder().decoder, { scale: 1, unconditionalIds: [0] }).createSession();
    const { logits, expertCounts } = await session.append([7, 0, 0]);
    expect(Math.exp(logits[0]!) + Math.exp(logits[1]!)).toBeCloseTo(1, 5);
    expect([...expertCounts]).toEqual([3]);
    expect(session.length).toBe(3);
    session.dispose();
  });

  it('disposes both sequences', () => {
    const { decoder, open } = fakeDecoder();
    const session = guidedDecoder(decoder, { scale: 2, unconditionalIds: [0] }).createSession();
    expect(open()).toBe(2);
    session.dispose();
    expect(open()).toBe(0);
  });

  it('refuses a scale below 1 and an empty stand-in', () => {
    const { decoder } = fakeDecoder();
    expect(() => guidedDecoder(decoder, { scale: 0.5, unconditionalIds: [0] })).toThrow('1 or more, got 0.5');
    expect(() => guidedDecoder(decoder, { scale: 2, unconditionalIds: [] })).toThrow('at least one token');
  });
});
