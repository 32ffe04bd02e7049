import { describe, expect, it } from 'vitest';
import { collect, FakeDecoder } from '../test/fake-decoder.js';
import { generateTokens } from './generate-tokens.js';

const GREEDY = { temperature: 0 };

describe('generateTokens', () => {
  it('continues the prompt until a stop token, which it does not yield', async () => {
    const decoder = FakeDecoder.saying(11, 3, [5, 4, 7, 1]);
    const { items, result } = await collect(generateTokens(decoder, [2, 3, 6], { ...GREEDY, stopTokens: [1] }));
    expect(items.map(({ id }) => id)).toEqual([5, 4, 7]);
    expect(result.finishReason).toBe('stop');
    expect(decoder.open).toBe(0);
  });

  it('counts every visit once: the prompt apart, then each token', async () => {
    const decoder = FakeDecoder.saying(11, 3, [5, 4, 8, 1]);
    const { items, result } = await collect(generateTokens(decoder, [2, 3, 6], { ...GREEDY, stopTokens: [1] }));
    expect([...result.promptExpertCounts]).toEqual([3, 2, 0]);
    expect(items.map(({ expertCounts }) => [...expertCounts])).toEqual([
      [1, 0, 0],
      [1, 1, 0],
      [1, 1, 0],
    ]);
  });

  it('stops at maxTokens without running the model for the last token', async () => {
    const decoder = FakeDecoder.saying(11, 2, [5]);
    const { items, result } = await collect(generateTokens(decoder, [2, 3], { ...GREEDY, maxTokens: 4 }));
    expect(items).toHaveLength(4);
    expect(result.finishReason).toBe('length');
    expect(decoder.calls).toBe(4); // the prompt and three tokens
    expect([...items[3].expertCounts]).toEqual([0, 0, 0]);
  });

  it('fills the positions and no more', async () => {
    const decoder = FakeDecoder.saying(11, 2, [5], 7);
    const { items, result } = await collect(generateTokens(decoder, [2, 3], { ...GREEDY, maxTokens: 1000 }));
    expect(items).toHaveLength(6); // the last one needs no position
    expect(result.finishReason).toBe('length');
  });

  it('gives one token for a prompt that fills all positions', async () => {
    const decoder = FakeDecoder.saying(11, 3, [5], 3);
    const { items, result } = await collect(generateTokens(decoder, [2, 3, 4], GREEDY));
    expect(items.map(({ id }) => id)).toEqual([5]);
    expect(result.finishReason).toBe('length');
  });

  it('repeats a text from its seed, and reports the seed it chose', async () => {
    const flat = (): FakeDecoder => new FakeDecoder(101, 53, () => new Float32Array(101));
    const run = async (seed?: number): Promise<{ ids: number[]; seed: number }> => {
      const { items, result } = await collect(generateTokens(flat(), [1], { seed, maxTokens: 30 }));
      return { ids: items.map(({ id }) => id), seed: result.seed };
    };
    const first = await run();
    expect((await run(first.seed)).ids).toEqual(first.ids);
    expect((await run(7)).ids).not.toEqual((await run(8)).ids);
  });

  it('counts the prompt as seen for the repetition penalty', async () => {
    const decoder = new FakeDecoder(5, 53, () => Float32Array.of(1, 0.9, 0.5, -1, -1));
    const { items } = await collect(generateTokens(decoder, [0], { ...GREEDY, repetitionPenalty: 4, maxTokens: 2 }));
    expect(items.map(({ id }) => id)).toEqual([1, 2]);
  });

  it('disposes the session when the consumer leaves', async () => {
    const decoder = FakeDecoder.saying(11, 2, [5]);
    for await (const { id } of generateTokens(decoder, [2, 3], GREEDY)) {
      expect(decoder.open).toBe(1);
      if (id === 5) break;
    }
    expect(decoder.open).toBe(0);
  });

  it('disposes the session and throws the reason when aborted between tokens', async () => {
    const decoder = FakeDecoder.saying(11, 2, [5]);
    const abort = new AbortController();
    const tokens = generateTokens(decoder, [2, 3], GREEDY, abort.signal);
    await tokens.next();
    abort.abort(new Error('the reader left'));
    await expect(tokens.next()).rejects.toThrow('the reader left');
    expect(decoder.open).toBe(0);
  });

  it('notices an abort from a timer although the model never waits', async () => {
    const decoder = FakeDecoder.saying(11, 2, [5], 1_000_000);
    await expect(collect(generateTokens(decoder, [2, 3], GREEDY, AbortSignal.timeout(20)))).rejects.toThrow('timeout');
    expect(decoder.open).toBe(0);
  });

  it('makes no session for a signal that is already aborted', async () => {
    const decoder = FakeDecoder.saying(11, 2, [5]);
    await expect(collect(generateTokens(decoder, [2], GREEDY, AbortSignal.abort()))).rejects.toThrow('aborted');
    expect(decoder.calls).toBe(0);
    expect(decoder.open).toBe(0);
  });

  it('disposes the session when the model throws', async () => {
    const decoder = new FakeDecoder(5, 53, () => {
      throw new Error('device lost');
    });
    await expect(collect(generateTokens(decoder, [0]))).rejects.toThrow('device lost');
    expect(decoder.open).toBe(0);
  });

  it('refuses NaN logits, and logits of another length', async () => {
    const broken = new FakeDecoder(3, 53, () => Float32Array.of(1, Number.NaN, 0));
    await expect(collect(generateTokens(broken, [0]))).rejects.toThrow(
      'logits: expected finite numbers from the model, got NaN for token 1; check its weights for NaN',
    );
    const long = new FakeDecoder(3, 53, () => new Float32Array(4));
    await expect(collect(generateTokens(long, [0]))).rejects.toThrow('logits: expected [3] from the model, got [4]');
    expect(broken.open + long.open).toBe(0);
  });

  it.each([
    [[], 'promptIds: expected at least one token, got none'],
    [
      [1, 2, 3, 4],
      'promptIds: expected at most 3 tokens, the positions of this model, got 4; shorten the conversation by 1 tokens',
    ],
    [[1, 5], 'promptIds[1]: expected an id from 0 to 4, got 5'],
    [[-1], 'promptIds[0]: expected an id from 0 to 4, got -1'],
    [[0.5], 'promptIds[0]: expected an id from 0 to 4, got 0.5'],
  ])('refuses the prompt %j', async (prompt, message) => {
    const decoder = FakeDecoder.saying(5, 1, [2], 3);
    await expect(collect(generateTokens(decoder, prompt))).rejects.toThrow(message);
    expect(decoder.open).toBe(0);
  });
});
