// Text normalisation that every source shares. Pure functions, no row is ever logged.

const quotes = {
  '‘': "'",
  '’': "'",
  '‚': "'",
  '“': '"',
  '”': '"',
  '„': '"',
  '–': '-',
  '—': '-',
  '‑': '-',
  '−': '-',
  '…': '...',
  '•': '-',
  '·': '-',
};
const maskToken =
  /\[(?:PHONE|URL|EMAIL|THERAPIST|USER|NAME)\]|<(?:allcaps|repeat|number|user|url|email|hashtag|elong)>/giu;
const webAddress = /https?:|\bwww\.|\b[\w-]{2,}\.(?:com|org|net|edu|gov|info|co|us|ca|uk)\b|\S@\S/iu;
const phoneNumber = /\d{3}[-. )]+\d{3,4}|\b1?-?8\d\d[- ]/u;
const abbreviation = /(?:^|\s|\()(?:Dr|Mr|Mrs|Ms|Prof|St|vs|e\.g|i\.e|etc|al|No|Fig|cf|approx|U\.S)\.\s*$/u;
const segmenter = new Intl.Segmenter('en', { granularity: 'sentence' });

/** Straight quotes, plain dashes and spaces, no control or zero-width characters, at most one empty line. */
export function normalise(text) {
  return text
    .normalize('NFC')
    .replace(/[‘’‚“”„–—‑−…•·]/gu, (character) => quotes[character])
    .replace(/[\u200b-\u200d\u2060\ufeff\u00ad]/gu, (character) => (character === '\u200d' ? character : ''))
    .replace(/\r\n?/gu, '\n')
    .replace(/[^\S\n]+/gu, ' ')
    .replace(/\p{Cc}/gu, (character) => (character === '\n' ? character : ' '))
    .replace(/ *\n[\n ]*/gu, '\n\n')
    .trim();
}

/** Puts back the space that HTML stripping lost between a full stop and the next sentence. */
export function separateSentences(text) {
  return text
    .replace(/([a-z]{2}|[)"'\d])([.!?]+)(["']?[A-Z](?![A-Za-z]*\.[a-z]))/gu, '$1$2 $3')
    .replace(/([a-z]{2})([,;:])([A-Za-z]{2})/gu, '$1$2 $3')
    .replace(/ +([,.;!?])(?=\s|$)/gu, '$1');
}

/** Sentences of one paragraph, trimmed, abbreviations kept together. */
export function sentences(paragraph) {
  const found = [];
  let open = '';
  for (const { segment } of segmenter.segment(paragraph)) {
    open += segment;
    if (abbreviation.test(open)) continue;
    if (open.trim()) found.push(open.trim());
    open = '';
  }
  if (open.trim()) found.push(open.trim());
  return found;
}

export const paragraphs = (text) =>
  text
    .split(/\n+/u)
    .map((line) => line.trim())
    .filter(Boolean);
export const countWords = (text) => (text.match(/\S+/gu) ?? []).length;
export const holdsMask = (text) => maskToken.test(text) || /\[[A-Z]{3,}\]/u.test(text);
export const countMasks = (text) => (text.match(maskToken) ?? []).length;
export const holdsContact = (text) => webAddress.test(text) || phoneNumber.test(text);
export const removeMasks = (text) =>
  text
    .replace(maskToken, ' ')
    .replace(/[^\S\n]+/gu, ' ')
    .trim();

/** Text without the sentences that carry a mask token, an address or a telephone number. */
export function dropContactSentences(text) {
  return paragraphs(text)
    .map((paragraph) =>
      sentences(paragraph)
        .filter((sentence) => !countMasks(sentence) && !holdsContact(sentence))
        .join(' '),
    )
    .filter(Boolean)
    .join('\n\n');
}

/** Cuts at the last sentence end at or before `limit` words; one over-long first sentence is cut to ''. */
export function truncateAtSentence(text, limit) {
  if (countWords(text) <= limit) return text;
  const kept = [];
  let words = 0;
  for (const paragraph of paragraphs(text)) {
    const fitting = [];
    for (const sentence of sentences(paragraph)) {
      words += countWords(sentence);
      if (words > limit) return [...kept, fitting.join(' ')].filter(Boolean).join('\n\n');
      fitting.push(sentence);
    }
    kept.push(fitting.join(' '));
  }
  return kept.join('\n\n');
}

/** What two texts must share to count as the same: letters, digits and emoji only, lower case. */
export const fingerprint = (text) =>
  text
    .normalize('NFKC')
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\p{Extended_Pictographic}]+/gu, ' ')
    .trim();

/** Spanish rows stand among the English ones; a handful of its letters marks them. */
export const looksSpanish = (text) => (text.match(/[áéíóúñ¿¡]/giu) ?? []).length >= 4;
