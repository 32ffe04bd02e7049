import { expect, it } from 'vitest';
import { documentRanges, visibleKeys } from './key-ranges.js';
import { queryBlocks } from './query-blocks.js';

const scoresOf = (blocks: ReturnType<typeof queryBlocks>, heads: number) =>
  blocks.map(({ queries, first, end }) => heads * queries * (end - first));

const sum = (numbers: readonly number[]) => numbers.reduce((total, one) => total + one, 0);

it('covers every query once and every key that one sees, and says what it hides', () => {
  const sizes = { batch: 1, seq: 131, keys: 137, heads: 3 };
  expect(queryBlocks(visibleKeys({ causal: true }, sizes), sizes)).toEqual([
    { start: 0, queries: 128, first: 0, end: 134, done: 0, hides: 'tail', blind: false },
    { start: 128, queries: 3, first: 0, end: 137, done: 137, hides: 'tail', blind: false },
  ]);
  expect(queryBlocks(visibleKeys({ causal: false }, sizes), sizes).map(({ hides }) => hides)).toEqual([
    'nothing',
    'nothing',
  ]);
});

it('narrows a block to its window or its documents', () => {
  const sizes = { batch: 1, seq: 257, keys: 257, heads: 3 };
  expect(queryBlocks(visibleKeys({ causal: true, window: 7 }, sizes), sizes)).toEqual([
    { start: 0, queries: 128, first: 0, end: 128, done: 122, hides: 'ranges', blind: false },
    { start: 128, queries: 128, first: 122, end: 256, done: 250, hides: 'ranges', blind: false },
    { start: 256, queries: 1, first: 250, end: 257, done: 257, hides: 'nothing', blind: false },
  ]);
  const ranges = documentRanges([0, 128, 257]);
  const spans = queryBlocks(visibleKeys({ causal: false, ranges }, sizes), sizes);
  expect(spans.map(({ first, end }) => [first, end])).toEqual([
    [0, 128],
    [128, 257],
    [128, 257],
  ]);
});

it('gives queries that see nothing a key that is hidden from them', () => {
  const sizes = { batch: 2, seq: 3, keys: 5, heads: 1 };
  const ranges = { first: new Int32Array(6), end: new Int32Array(6) };
  expect(queryBlocks(ranges, sizes)).toEqual([
    { start: 0, queries: 3, first: 4, end: 5, done: 5, hides: 'ranges', blind: true },
  ]);
});

it('holds scores that grow with the keys, in all as many as are seen and few more', () => {
  const heads = 32;
  const most = [8192, 32768, 131072].map((seq) => {
    const sizes = { batch: 1, seq, keys: seq, heads };
    const scores = scoresOf(queryBlocks(visibleKeys({ causal: true }, sizes), sizes), heads);
    expect(sum(scores)).toBeLessThan((1.02 * heads * seq * seq) / 2);
    return Math.max(...scores);
  });
  expect(most[2]! / most[0]!).toBeLessThanOrEqual(16);
  const sizes = { batch: 1, seq: 8192, keys: 8192, heads };
  const windowed = scoresOf(queryBlocks(visibleKeys({ causal: true, window: 512 }, sizes), sizes), heads);
  expect(sum(windowed)).toBeLessThan(1.25 * heads * 8192 * 512);
});
