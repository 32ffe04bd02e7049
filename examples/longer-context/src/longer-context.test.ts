import { copyFile, mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { modelDirectory } from '@therapeutic-moe/embedded-model';
import { backend, model as models, tokenizer as tokenizers } from 'therapeutic-moe';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
// @ts-expect-error: plain scripts without declarations
import { bitsPerByte, difference } from './bits-per-byte.mjs';
// @ts-expect-error: plain scripts without declarations
import { run } from './longer-context.mjs';
// @ts-expect-error: plain scripts without declarations
import { readOptions } from './options.mjs';
// @ts-expect-error: plain scripts without declarations
import { scoreWindows } from './score-windows.mjs';
// @ts-expect-error: plain scripts without declarations
import { variants, writeVariant } from './variants.mjs';
// @ts-expect-error: plain scripts without declarations
import { natsByPosition, stretchOf } from './windows.mjs';

/** A narrow model that was "trained" on 8 positions, with the embedded model's tokenizer. */
let folder: string;
let model: string;
let tokenizer: tokenizers.Tokenizer;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'longer-context-'));
  model = join(folder, 'model');
  await backend.useBackend('wasm');
  tokenizer = await tokenizers.Tokenizer.fromDirectory(modelDirectory);
  const config = models.presets.therapeutic({
    vocabSize: tokenizer.vocabSize,
    hiddenSize: 8,
    intermediateSize: 5,
    numHiddenLayers: 1,
    numAttentionHeads: 2,
    numKeyValueHeads: 1,
    headDim: 4,
    maxPositionEmbeddings: 8,
    initializerRange: 0.5, // large enough for positions to matter
  });
  const decoder = models.CausalLm.create(config, 3);
  await models.saveModelDirectory(decoder, model);
  decoder.dispose();
  for (const name of ['tokenizer.json', 'tokenizer_config.json'])
    await copyFile(join(modelDirectory, name), join(model, name));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('stretchOf', () => {
  const text = 'The tide comes in twice a day, and the birds know it well before the people do. '.repeat(3);

  it('scores each counted block at every position', () => {
    const { windows, counted } = stretchOf(tokenizer, text, { positions: 3, block: 5, most: 7 });
    const ids = [tokenizer.eosTokenId as number, ...tokenizer.encode(text)];
    expect(windows).toHaveLength(7);
    for (const [w, own] of windows.entries()) expect([...own]).toEqual(ids.slice(5 * w, 5 * w + 16));
    expect(counted).toMatchObject({ first: 2, last: 6 });
    const bytes = ids.slice(11, 36).reduce((sum, id) => sum + tokenizer.tokenBytes(id).length, 0);
    expect(counted.bytes).toBe(bytes);
    // The cost of a window's block named by its place in the text: each position gathers the same blocks.
    const blocks = windows.map((_: unknown, w: number) => [0, 1, 2].map((position) => 10 ** (w + position)));
    expect(natsByPosition(blocks, counted)).toEqual([1111100, 1111100, 1111100]);
  });

  it('leaves out a text that is too short for one block at all positions', () => {
    expect(stretchOf(tokenizer, 'The tide comes in.', { positions: 3, block: 5, most: 7 })).toBeUndefined();
  });
});

describe('bitsPerByte', () => {
  const costs = [2, 3, 5, 7].map((nats) => ({ nats: nats * Math.LN2, bytes: nats + 1 }));

  it('is a ratio of sums with an interval over texts', () => {
    const { value, low, high } = bitsPerByte(costs);
    expect(value).toBeCloseTo(17 / 21, 12);
    expect(low).toBeLessThan(value);
    expect(high).toBeGreaterThan(value);
  });

  it('takes differences text by text: a constant one has no spread', () => {
    const dearer = costs.map(({ nats, bytes }) => ({ nats: nats + bytes * Math.LN2, bytes }));
    const { value, low, high } = difference(dearer, costs);
    for (const each of [value, low, high]) expect(each).toBeCloseTo(1, 12);
  });
});

describe('writeVariant', () => {
  it('keeps the weights, and what differs is the positions alone', async () => {
    const ids = Int32Array.from([0, ...tokenizer.encode('The tide comes in twice a day, and the birds know it well.')]);
    const window = ids.subarray(0, 13);
    const nats: Record<string, number[][]> = {};
    for (const variant of Object.keys(variants)) {
      const decoder = await models.loadModelDirectory(await writeVariant(model, join(folder, variant), variant, 4));
      expect(decoder.maxPositions).toBe(32);
      nats[variant] = await scoreWindows(decoder, [window], 4);
      decoder.dispose();
    }
    const original = await models.loadModelDirectory(model);
    const [[first]] = await scoreWindows(original, [window.subarray(0, 5)], 4);
    expect(nats.none?.[0]?.[0]).toBeCloseTo(first, 5);
    original.dispose();
    expect(new Set(Object.values(nats).map((each) => JSON.stringify(each))).size).toBe(Object.keys(variants).length);
  });
});

describe('run', () => {
  it("measures and tunes on the repository's documentation, and goes on where it stopped", async () => {
    for (const stream of ['log', 'info'] as const) vi.spyOn(console, stream).mockImplementation(() => undefined);
    const options = { model, output: join(folder, 'run'), steps: 2, windows: 8, backend: 'wasm' };
    const results = await run(options);
    expect(results).toMatchObject({ trained: 8, length: 32, block: 4, steps: 2 });
    const [{ name, curves, texts }] = results.sets;
    expect(name).toBe('documentation');
    expect(texts).toBeGreaterThan(5);
    expect(curves).toHaveLength(2 * Object.keys(variants).length - 1); // the window is not tuned
    for (const { positions } of curves) {
      expect(positions).toHaveLength(8);
      for (const { value, low, high } of positions) {
        expect(low).toBeLessThanOrEqual(value);
        expect(high).toBeGreaterThanOrEqual(value);
      }
    }
    expect(curves[0].positions[1].againstReference.value).toBe(0);
    const plot = await readFile(join(folder, 'run', 'documentation.svg'), 'utf8');
    expect(plot.match(/<polyline/g)).toHaveLength(curves.length);
    expect(plot).toContain('after 2 steps at 32 tokens');

    const log = join(folder, 'run', 'none', 'tuned', 'train.jsonl');
    const { mtimeMs } = await stat(log);
    expect(await run(options)).toEqual(results);
    expect((await stat(log)).mtimeMs).toBe(mtimeMs);
    vi.restoreAllMocks();
  });
});

describe('readOptions', () => {
  it('has defaults, and refuses counts that are none', () => {
    expect(readOptions(['--output', folder])).toEqual({
      data: undefined,
      model: undefined,
      steps: 60,
      windows: 16,
      backend: 'auto',
      output: folder,
    });
    expect(() => readOptions(['--windows', 'all'])).toThrow(
      "--windows must be a whole number of at least 2, got 'all'",
    );
  });
});
