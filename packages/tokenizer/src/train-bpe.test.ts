import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BYTE_ALPHABET, toByteCharacters } from './byte-alphabet.js';
import { splitWords } from './split-pattern.js';
import { type BpeTraining, trainBpe } from './train-bpe.js';

const SPECIAL = ['<|endoftext|>', '<|user|>'];
const TEXTS = [
  'The tide comes in and the tide goes out, and the heron stands where the tide was.',
  'She stood where the heron stood; the heron had gone. "Where?" she asked. It isn\'t there.',
  'aaaa aaaa aaa aa a 1234567 naïve café ☕☕ 🙂',
];
const settings: BpeTraining = { vocabSize: 300, minFrequency: 1, specialTokens: SPECIAL };

/** The same rule written the slow way: count every pair of every word again before each merge. */
function trainSlowly(texts: readonly string[], mergeCount: number): string[][] {
  const ids = new Map(BYTE_ALPHABET.map((token, id) => [token, id]));
  const words = texts.flatMap(splitWords).map((word) => [...toByteCharacters(word)]);
  const merges: string[][] = [];
  while (merges.length < mergeCount) {
    const counts = new Map<string, { left: string; right: string; count: number }>();
    for (const word of words) {
      for (let i = 1; i < word.length; i++) {
        const [left, right] = [word[i - 1], word[i]];
        const entry = counts.get(`${left} ${right}`) ?? { left, right, count: 0 };
        counts.set(`${left} ${right}`, { ...entry, count: entry.count + 1 });
      }
    }
    const [best] = [...counts.values()].sort(
      (a, b) => b.count - a.count || ids.get(a.left)! - ids.get(b.left)! || ids.get(a.right)! - ids.get(b.right)!,
    );
    if (!best || best.count < 2) break;
    const token = best.left + best.right;
    merges.push([best.left, best.right]);
    if (!ids.has(token)) ids.set(token, ids.size);
    for (const word of words) {
      for (let i = 0; i + 1 < word.length; i++) {
        if (word[i] === best.left && word[i + 1] === best.right) word.splice(i, 2, token);
      }
    }
  }
  return merges;
}

describe('trainBpe', () => {
  it('merges as counting everything again before each merge would', () => {
    expect(trainBpe(TEXTS, { ...settings, minFrequency: 2, vocabSize: 1000 }).model.merges).toEqual(
      trainSlowly(TEXTS, 1000),
    );
  });

  it('does so for any text', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'b', 'c', ' ', 'é'), maxLength: 41 });
    fc.assert(
      fc.property(fc.array(text, { maxLength: 7 }), (texts) => {
        expect(trainBpe(texts, { vocabSize: 280, specialTokens: [] }).model.merges).toEqual(trainSlowly(texts, 24));
      }),
      { seed: 2, numRuns: 200 },
    );
  });

  it('gives the same file for the same texts in another order', () => {
    const forward = JSON.stringify(trainBpe(TEXTS, settings));
    expect(JSON.stringify(trainBpe([...TEXTS].reverse(), settings))).toBe(forward);
  });

  it('puts special tokens first, then the bytes, then merges, up to the size asked for', () => {
    const { model, added_tokens } = trainBpe(TEXTS, settings);
    expect(added_tokens.map(({ id, content, special }) => [id, content, special])).toEqual([
      [0, '<|endoftext|>', true],
      [1, '<|user|>', true],
    ]);
    expect(Object.keys(model.vocab)).toHaveLength(300);
    expect(new Set(Object.values(model.vocab)).size).toBe(300);
    expect(model.vocab['!']).toBe(2);
    expect(model.vocab.a).toBe(2 + 'a'.charCodeAt(0) - '!'.charCodeAt(0));
  });

  it('stops early when no pair is frequent enough', () => {
    const { model } = trainBpe(['ab ab cd'], { vocabSize: 1000, minFrequency: 2, specialTokens: [] });
    expect(model.merges).toEqual([['a', 'b']]);
    expect(Object.keys(model.vocab)).toHaveLength(257);
  });

  it('reports its progress up to the end', () => {
    const seen: number[] = [];
    trainBpe(TEXTS, settings, ({ entries }) => seen.push(entries));
    expect(seen.at(-1)).toBe(300);
  });

  it('never merges text into a special token', () => {
    const { model } = trainBpe(['endend endend end'], { vocabSize: 400, specialTokens: ['end'] });
    expect(model.merges.map((pair) => pair.join(''))).not.toContain('end');
    expect(model.vocab.end).toBe(0);
  });

  it('learns 4096 entries from a large text in seconds', () => {
    // 2 MB of invented words; the time is generous, it is there to catch quadratic work.
    let state = 1;
    const next = (below: number): number => {
      state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
      return Math.floor((state / 0x80000000) * below);
    };
    const syllables = Array.from({ length: 200 }, () =>
      String.fromCharCode(97 + next(26), 97 + next(26), 97 + next(26)),
    );
    const text = Array.from({ length: 250_000 }, () => syllables[next(200)] + syllables[next(200)]).join(' ');
    const start = performance.now();
    const { model } = trainBpe([text], { vocabSize: 4096, specialTokens: SPECIAL });
    expect(model.merges.length).toBeGreaterThan(3800);
    expect(performance.now() - start).toBeLessThan(20_000);
  });

  it.each<[object, string]>([
    [{ vocabSize: 257 }, 'vocabSize: expected a whole number from 258 up (2 special tokens + 256 bytes), got 257'],
    [{ vocabSize: 300.5 }, 'vocabSize: expected a whole number'],
    [{ minFrequency: 0 }, 'minFrequency: expected a whole number from 1 up, got 0'],
    [{ specialTokens: ['<|a|>', '<|a|>'] }, 'specialTokens[1]: expected every token once, got "<|a|>" twice'],
    [{ specialTokens: ['x'] }, 'specialTokens[0]: expected a text of two characters or more'],
  ])('refuses %j', (change, message) => {
    expect(() => trainBpe(TEXTS, { ...settings, ...change })).toThrow(message);
  });

  it('refuses a text that is not a string', () => {
    expect(() => trainBpe(['a', null as unknown as string], settings)).toThrow(
      'texts[1]: expected a string, got object',
    );
  });
});

describe('splitWords', () => {
  it('cuts as Llama 3 does', () => {
    expect(splitWords("I'll  go, it's 12345 years\n\n  now…")).toEqual([
      'I',
      "'ll",
      ' ',
      ' go',
      ',',
      ' it',
      "'s",
      ' ',
      '123',
      '45',
      ' years',
      '\n\n',
      ' ',
      ' now',
      '…',
    ]);
  });

  it('loses nothing', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 53 }), (text) => {
        expect(splitWords(text).join('')).toBe(text);
      }),
      { seed: 4, numRuns: 500 },
    );
  });
});
