import { describe, expect, it } from 'vitest';
import { collect, FakeDecoder } from '../test/fake-decoder.js';
import type { Decoder } from './decoder.js';
import { generateTokens, type TokensSummary } from './generate-tokens.js';
import { guidedDecoder } from './guided-decoder.js';
import { KeptSessions } from './kept-sessions.js';
import type { Sampling } from './sampling.js';

const VOCAB = 11;
const GREEDY = { temperature: 0, seed: 7, maxTokens: 3 };
const SAMPLED = { temperature: 1.3, seed: 7, maxTokens: 5 };
const PROMPT = [2, 3, 5, 7];

/** Logits that every token so far and its place decide, so that a session in a wrong state says something else. */
function mixing(): FakeDecoder {
  return new FakeDecoder(VOCAB, 97, (ids) => {
    const state = ids.reduce((sum, id, i) => (sum * 31 + id * (i + 1)) % 10_007, 1);
    return Float32Array.from({ length: VOCAB }, (_, id) => 3 * Math.sin(state * (id + 1)));
  });
}

async function say(decoder: Decoder, prompt: readonly number[], sampling: Sampling) {
  const { items, result } = await collect(generateTokens(decoder, prompt, sampling));
  return { ids: items.map(({ id }) => id), items, result };
}

const guided = (decoder: Decoder) => guidedDecoder(decoder, { scale: 2, unconditionalIds: [1, 1] });

describe('KeptSessions', () => {
  describe.each([
    ['plain', (decoder: Decoder) => decoder],
    ['guided', guided],
  ])('with a %s decoder', (_, wrapped) => {
    it.each([
      ['greedy', GREEDY],
      ['sampled', SAMPLED],
    ])('says turn after turn, %s, what fresh sessions say, visits included', async (_, sampling) => {
      const kept = new KeptSessions(wrapped(mixing()));
      let prompt = PROMPT;
      for (const next of [[4, 6], [8], [9, 1, 2]]) {
        const turn = await say(kept, prompt, sampling);
        expect(turn).toEqual(await say(wrapped(mixing()), prompt, sampling));
        prompt = [...prompt, ...turn.ids, ...next];
      }
      kept.dispose();
    });
  });

  it('computes only what is new in a next turn', async () => {
    const decoder = mixing();
    const kept = new KeptSessions(decoder);
    const { ids } = await say(kept, PROMPT, GREEDY);
    await say(kept, [...PROMPT, ...ids, 4, 6], GREEDY);
    // The last token of a full-length text was not read; it comes with the two new ones.
    expect(decoder.reads).toEqual([4, 1, 1, 3, 1, 1]);
    expect(decoder.open).toBe(1);
    kept.dispose();
    expect(decoder.open).toBe(0);
  });

  it('computes the last token of a prompt that is asked again, and of guidance that of its stand-in', async () => {
    const decoder = mixing();
    const kept = new KeptSessions(guided(decoder));
    const first = await say(kept, PROMPT, SAMPLED);
    decoder.reads.length = 0;
    expect(await say(kept, PROMPT, SAMPLED)).toEqual(first);
    expect(decoder.reads.slice(0, 2)).toEqual([1, 1]);
    kept.dispose();
    expect(decoder.open).toBe(0);
  });

  it('goes on from a reply that was cut or worded otherwise', async () => {
    const decoder = mixing();
    const kept = new KeptSessions(decoder);
    const { ids } = await say(kept, PROMPT, GREEDY);
    const prompt = [...PROMPT, ids[0], (ids[1] + 1) % VOCAB, 6];
    const turn = await say(kept, prompt, SAMPLED);
    expect(turn).toEqual(await say(mixing(), prompt, SAMPLED));
    expect(decoder.reads[3]).toBe(2);
    kept.dispose();
  });

  it('gives nothing to a prompt that only begins alike', async () => {
    const decoder = mixing();
    const kept = new KeptSessions(decoder);
    await say(kept, PROMPT, GREEDY);
    await say(kept, [...PROMPT.slice(0, 3), 8, 8], GREEDY);
    expect(decoder.reads[3]).toBe(5);
    expect(decoder.open).toBe(1);
    kept.dispose();
  });

  it('never lends a session twice: texts at the same time say what each says alone', async () => {
    const decoder = mixing();
    const kept = new KeptSessions(decoder);
    const { ids } = await say(kept, PROMPT, GREEDY);
    const prompt = [...PROMPT, ...ids, 4];
    const running = [generateTokens(kept, prompt, SAMPLED), generateTokens(kept, prompt, SAMPLED)];
    const said: number[][] = [[], []];
    for (let i = 0; i < SAMPLED.maxTokens; i++) {
      for (const [who, tokens] of running.entries()) {
        const { value } = await tokens.next();
        said[who].push((value as { id: number }).id);
      }
    }
    expect(decoder.open).toBe(2);
    for (const tokens of running) await tokens.return(undefined as unknown as TokensSummary);
    const alone = await say(mixing(), prompt, SAMPLED);
    expect(said).toEqual([alone.ids, alone.ids]);
    expect(decoder.open).toBe(1);
    kept.dispose();
    expect(decoder.open).toBe(0);
  });

  it('keeps two conversations apart that take turns, and both where it has room', async () => {
    for (const [most, newTokens] of [
      [1, [4 + 3 + 1, 4 + 3 + 1]],
      [2, [2, 2]],
    ] as const) {
      const decoder = mixing();
      const kept = new KeptSessions(decoder, most);
      const prompts = [PROMPT, [9, 8, 7, 6]];
      const replies = [await say(kept, prompts[0], GREEDY), await say(kept, prompts[1], GREEDY)];
      decoder.reads.length = 0;
      for (const [i, prompt] of prompts.entries()) {
        const next = [...prompt, ...replies[i].ids, 4];
        expect(await say(kept, next, SAMPLED)).toEqual(await say(mixing(), next, SAMPLED));
      }
      expect(decoder.reads.filter((tokens) => tokens > 1)).toEqual(newTokens);
      expect(decoder.open).toBe(most);
      kept.dispose();
      expect(decoder.open).toBe(0);
    }
  });

  it('holds no more sessions than it may, the one in use included', async () => {
    const decoder = mixing();
    const kept = new KeptSessions(decoder);
    await say(kept, PROMPT, GREEDY);
    for await (const _ of generateTokens(kept, [9, 8], GREEDY)) expect(decoder.open).toBe(1);
    kept.dispose();
  });

  it('keeps what an aborted text has read', async () => {
    const decoder = mixing();
    const kept = new KeptSessions(decoder);
    const abort = new AbortController();
    const tokens = generateTokens(kept, PROMPT, SAMPLED, abort.signal);
    await tokens.next();
    abort.abort(new Error('the reader left'));
    await expect(tokens.next()).rejects.toThrow('the reader left');
    decoder.reads.length = 0;
    expect(await say(kept, PROMPT, SAMPLED)).toEqual(await say(mixing(), PROMPT, SAMPLED));
    expect(decoder.reads[0]).toBe(1);
    kept.dispose();
  });

  it('drops a session whose pass failed', async () => {
    let broken = false;
    const decoder = new FakeDecoder(3, 53, () => {
      if (broken) throw new Error('device lost');
      return Float32Array.of(1, 2, 3);
    });
    const kept = new KeptSessions(decoder);
    await say(kept, [1, 2], GREEDY);
    broken = true;
    await expect(say(kept, [1, 2, 2], GREEDY)).rejects.toThrow('device lost');
    expect(decoder.open).toBe(0);
    broken = false;
    expect((await say(kept, [1, 2, 2], GREEDY)).ids).toEqual([2, 2, 2]);
    kept.dispose();
  });

  it('frees a session that is in use while it is disposed once its text ends', async () => {
    const decoder = mixing();
    const kept = new KeptSessions(decoder);
    for await (const _ of generateTokens(kept, PROMPT, GREEDY)) kept.dispose();
    expect(decoder.open).toBe(0);
  });

  it('keeps nothing of a decoder whose sessions cannot be reused', async () => {
    const decoder = mixing();
    const { vocabSize, maxPositions } = decoder;
    const createSession = () => ({ ...decoder.createSession(), reuse: undefined, expertCounts: undefined });
    const kept = new KeptSessions({ vocabSize, maxPositions, createSession });
    for (let i = 0; i < 2; i++) expect(await say(kept, PROMPT, GREEDY)).toEqual(await say(mixing(), PROMPT, GREEDY));
    expect(decoder.open).toBe(0);
  });

  it('keeps none where asked, and refuses what is no number of sessions', async () => {
    const decoder = mixing();
    await say(new KeptSessions(decoder, 0), PROMPT, GREEDY);
    expect(decoder.open).toBe(0);
    for (const most of [-1, 0.5, Number.NaN])
      expect(() => new KeptSessions(decoder, most)).toThrow(`whole number of 0 or more, got ${most}; 0 keeps none`);
  });
});
