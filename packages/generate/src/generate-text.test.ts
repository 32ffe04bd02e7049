import { describe, expect, it } from 'vitest';
import { collect, FakeDecoder } from '../test/fake-decoder.js';
import { generateText, type TextStream } from './generate-text.js';

const VOCABULARY = ['<end>', 'Hello', ' there', '\nUs', 'er', ':', ' friend'];
const GREEDY = { temperature: 0 };

/** Looks words up; the bytes of a heart are tokens 7, 8 and 9. */
function words(): TextStream {
  const bytes = new TextDecoder();
  const heart = new TextEncoder().encode('♥');
  return {
    push: (id) => (id < 7 ? VOCABULARY[id] : bytes.decode(heart.subarray(id - 7, id - 6), { stream: true })),
    flush: () => bytes.decode(),
  };
}

const saying = (...script: number[]): FakeDecoder => FakeDecoder.saying(11, 2, script);

describe('generateText', () => {
  it('yields text and sums usage and visits', async () => {
    const decoder = saying(1, 2, 6, 0);
    const { items, result } = await collect(generateText(decoder, words(), [3, 4], { ...GREEDY, stopTokens: [0] }));
    expect(items).toEqual(['Hello', ' there', ' friend']);
    expect(result).toMatchObject({
      text: 'Hello there friend',
      finishReason: 'stop',
      usage: { promptTokens: 2, completionTokens: 3 },
    });
    expect([...result.promptExpertCounts]).toEqual([2, 1, 0]);
    expect([...result.expertCounts]).toEqual([3, 2, 0]);
    expect(decoder.open).toBe(0);
  });

  it('ends before a stop string that spans three tokens, and shows no part of it', async () => {
    const decoder = saying(1, 3, 4, 5, 1);
    const { items, result } = await collect(generateText(decoder, words(), [3, 4], { ...GREEDY, stop: ['\nUser:'] }));
    expect(items).toEqual(['Hello']);
    expect(result.finishReason).toBe('stop');
    expect(result.usage.completionTokens).toBe(4);
    expect(decoder.open).toBe(0);
  });

  it('gives back what it withheld when the stop string does not come', async () => {
    const sampling = { ...GREEDY, stop: ['\nUser:'], stopTokens: [0] };
    const { items, result } = await collect(generateText(saying(1, 3, 4, 0), words(), [3, 4], sampling));
    expect(items).toEqual(['Hello', '\nUser']);
    expect(result.text).toBe('Hello\nUser');
  });

  it('yields a character of three tokens once, whole', async () => {
    const sampling = { ...GREEDY, stopTokens: [0] };
    const { items } = await collect(generateText(saying(1, 7, 8, 9, 0), words(), [3, 4], sampling));
    expect(items).toEqual(['Hello', '♥']);
  });

  it('marks a character that the length cut off', async () => {
    const { items, result } = await collect(
      generateText(saying(1, 7, 8), words(), [3, 4], { ...GREEDY, maxTokens: 3 }),
    );
    expect(items).toEqual(['Hello', '\ufffd']);
    expect(result.finishReason).toBe('length');
  });

  it('disposes the session when aborted and when left', async () => {
    const decoder = saying(1);
    const abort = new AbortController();
    const text = generateText(decoder, words(), [3, 4], GREEDY, abort.signal);
    await text.next();
    abort.abort();
    await expect(text.next()).rejects.toThrow('aborted');
    for await (const _ of generateText(decoder, words(), [3, 4], GREEDY)) break;
    expect(decoder.open).toBe(0);
  });

  it('refuses settings before the model is touched', async () => {
    const decoder = saying(1);
    await expect(collect(generateText(decoder, words(), [3], { stop: [''] }))).rejects.toThrow('stop[0]: expected');
    await expect(collect(generateText(decoder, words(), [3], { topP: 2 }))).rejects.toThrow('topP: expected');
    expect(decoder.calls).toBe(0);
  });
});
