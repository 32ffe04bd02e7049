import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { StopStrings } from './stop-strings.js';

/** Feeds pieces until a stop, and returns all that was passed on. */
function run(stops: string[], pieces: string[]): { text: string; stopped: boolean } {
  const watcher = new StopStrings(stops);
  let text = '';
  for (const piece of pieces) {
    const result = watcher.push(piece);
    text += result.text;
    if (result.stopped) return { text, stopped: true };
  }
  return { text: text + watcher.flush(), stopped: false };
}

describe('StopStrings', () => {
  it('ends before a stop string that spans pieces', () => {
    expect(run(['User:'], ['Take care.', '\nUs', 'er', ': hello'])).toEqual({ text: 'Take care.\n', stopped: true });
  });

  it('passes on at once what cannot begin a stop string, and holds back what can', () => {
    const watcher = new StopStrings(['abab']);
    expect(watcher.push('xxab').text).toBe('xx');
    expect(watcher.push('a').text).toBe('');
    expect(watcher.push('c').text).toBe('abac');
    expect(watcher.push('aba').text).toBe('');
    expect(watcher.flush()).toBe('aba');
  });

  it('takes the stop string that is complete first', () => {
    expect(run(['abcd', 'bc'], ['xabcd'])).toEqual({ text: 'xa', stopped: true });
    expect(run(['c', 'abc'], ['xabc'])).toEqual({ text: 'x', stopped: true });
  });

  it('gives the same text wherever the pieces are cut', () => {
    const letters = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 23 });
    const stops = fc.array(fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 1, maxLength: 4 }), {
      maxLength: 3,
    });
    fc.assert(
      fc.property(letters, stops, fc.integer({ min: 1, max: 7 }), (text, list, size) => {
        const pieces = text.match(new RegExp(`.{1,${size}}`, 'g')) ?? [];
        const result = run(list, pieces);
        expect(result).toEqual(run(list, [text]));
        if (!result.stopped) expect(result.text).toBe(text);
        for (const stop of list) expect(result.text).not.toContain(stop);
      }),
      { seed: 3, numRuns: 2000 },
    );
  });

  it('refuses an empty stop string', () => {
    expect(() => new StopStrings(['a', ''])).toThrow('stop[1]: expected a text of one character or more, got ""');
  });
});
