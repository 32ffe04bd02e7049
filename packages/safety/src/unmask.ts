import { joiningWords, riskWords } from './risk-words.js';

const LEET: Readonly<Record<string, string>> = {
  '0': 'o',
  '1': 'i',
  '3': 'e',
  '4': 'a',
  '5': 's',
  '7': 't',
  '@': 'a',
  $: 's',
  '!': 'i',
  '|': 'l',
};
const MASK = /[*#_]/;

/** Undoes `su1c1de`, `k!ll`, `s**cide`, `killll`: a word is changed only when the result is a risk word. */
export function unmaskWord(word: string): string {
  if (riskWords.has(word) || !/[a-z]/.test(word)) return word;
  const trimmed = word.replace(/^[^a-z0-9@$]+|[^a-z0-9@$*#]+$/g, '');
  if (riskWords.has(trimmed)) return word;
  const plain = trimmed.replace(/[013457@$!|]/g, (sign) => LEET[sign] as string);
  if (riskWords.has(plain)) return plain;
  const withL = trimmed.replace(/[1!|]/g, 'l').replace(/[03457@$]/g, (sign) => LEET[sign] as string);
  if (riskWords.has(withL)) return withL;
  return unmaskStars(plain) ?? shortenLetters(plain) ?? word;
}

function unmaskStars(word: string): string | undefined {
  if (!MASK.test(word) || word.length > 12) return undefined;
  const letters = word.replace(/[^a-z]/g, '').length;
  if (letters < 2 && word !== 'd*e') return undefined;
  for (const risk of riskWords) {
    if (risk.length === word.length && [...word].every((sign, index) => MASK.test(sign) || sign === risk[index]))
      return risk;
  }
  return undefined;
}

function shortenLetters(word: string): string | undefined {
  if (!/(.)\1\1/.test(word)) return undefined;
  const double = word.replace(/(.)\1{2,}/g, '$1$1');
  const single = word.replace(/(.)\1{2,}/g, '$1');
  return riskWords.has(double) ? double : single;
}

/** Joins `k i l l  m y s e l f` and `d.i.e`: runs of single letters that read as risk words and short joining words. */
export function joinSpacedLetters(text: string): string {
  return text.replace(/(?<![\p{L}\d])\p{L}(?:[\s.\-_*·]{1,3}\p{L}(?![\p{L}\d'])){2,}/gu, (run) => {
    const letters = run.replace(/[^\p{L}]/gu, '');
    const words = letters.length > 60 ? undefined : readAsWords(letters);
    return words?.some((word) => riskWords.has(word)) ? words.join(' ') : run;
  });
}

/** The split into known words with the fewest pieces, or undefined. */
function readAsWords(letters: string): string[] | undefined {
  const best: (string[] | undefined)[] = [[]];
  for (let end = 1; end <= letters.length; end++) {
    for (let start = Math.max(0, end - 10); start < end; start++) {
      const head = best[start];
      const word = letters.slice(start, end);
      if (!head || !(riskWords.has(word) || joiningWords.has(word))) continue;
      if (!best[end] || head.length + 1 < (best[end] as string[]).length) best[end] = [...head, word];
    }
  }
  return best[letters.length];
}
