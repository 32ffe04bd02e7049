import { describe, expect, it } from 'vitest';
import { SentenceBuffer } from './sentence-buffer.js';

const feed = (pieces: readonly string[]) => {
  const buffer = new SentenceBuffer();
  return [...pieces.map((piece) => buffer.push(piece)), buffer.flush()];
};

describe('SentenceBuffer', () => {
  it('releases whole sentences only, and the rest at the end', () => {
    expect(feed(['I am', ' here. How', ' are you? “Fine.” he', ' said'])).toEqual([
      '',
      'I am here. ',
      'How are you? “Fine.” ',
      '',
      'he said',
    ]);
  });

  it('does not end a sentence inside a number or before the white space has come', () => {
    expect(feed(['About 3.', '5 hours.', ' Then rest'])).toEqual(['', '', 'About 3.5 hours. ', 'Then rest']);
  });

  it('ends at line breaks', () => {
    expect(feed(['- one\n- two', '\n\nDone'])).toEqual(['- one\n', '- two\n\n', 'Done']);
  });

  it('does not wait for ever for an end', () => {
    const words = 'word '.repeat(200);
    expect(feed([words]).join('')).toBe(words);
    expect(feed([words])[0].length).toBeGreaterThan(900);
    expect(feed(['x'.repeat(500)])[0]).toHaveLength(500);
  });

  it('loses and repeats nothing', () => {
    const text = 'One. Two! Three?\nFour… "Five." Six';
    expect(feed([...text]).join('')).toBe(text);
  });
});
