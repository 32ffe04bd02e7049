import { describe, expect, it } from 'vitest';
import { normaliseSentences } from './normalise.js';
import { phrase } from './phrase.js';

describe('normaliseSentences', () => {
  it('writes contractions out, whatever the apostrophe', () => {
    const expected = ['i do not think i can not'];
    for (const apostrophe of ["'", '’', 'ʼ', '`', ''])
      expect(normaliseSentences(`I don${apostrophe}t think I can${apostrophe}t`)).toEqual(expected);
  });

  it('cuts sentences and drops other punctuation', () => {
    expect(normaliseSentences('First, a (short) one. Then\na second; third?!')).toEqual([
      'first a short one',
      'then',
      'a second',
      'third',
    ]);
  });

  it('recovers hidden risk words and leaves other words alone', () => {
    expect(normaliseSentences('su1c1de k1ll d-i-e b2b mp3 A4 c3po')).toEqual(['suicide kill die b2b mp3 a4 c3po']);
    expect(normaliseSentences('an i s o n')).toEqual(['an i s o n']);
  });

  it('keeps accents and lookalikes from hiding a word', () => {
    expect(normaliseSentences('sùïcîdé dеаth')).toEqual(['suicide death']);
  });

  it('has nothing for text without letters', () => {
    expect(normaliseSentences('123 !!! 🙂')).toEqual([]);
  });
});

describe('phrase', () => {
  const matches = (source: string, text: string) => text.search(phrase(source)) >= 0;

  it('matches whole words, alternatives, optional words and gaps', () => {
    expect(matches('(want|wish) to [just] die', 'i want to just die')).toBe(true);
    expect(matches('(want|wish) to [just] die', 'i want to diet')).toBe(false);
    expect(matches('no {2} point', 'no one sees the point')).toBe(false);
    expect(matches('no {3} point', 'no one sees the point')).toBe(true);
    expect(matches('my _ dog', 'my old dog')).toBe(true);
  });

  it('does not reach over a negation', () => {
    expect(matches('am {2} suicidal', 'i am so very suicidal')).toBe(true);
    expect(matches('am {2} suicidal', 'i am not suicidal')).toBe(false);
  });
});
