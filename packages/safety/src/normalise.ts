import { joinSpacedLetters, unmaskWord } from './unmask.js';

// Cyrillic and Greek letters that look Latin; only used inside text that is otherwise English.
const LOOKALIKES: Readonly<Record<string, string>> = Object.fromEntries(
  [...'аaеeоoрpсcуyхxіiѕsјjԁdһhӏlкkмmтtвbнhαaεeοoρpτtυuιiκkνvχx'].flatMap((sign, index, all) =>
    index % 2 === 0 ? [[sign, all[index + 1] as string]] : [],
  ),
);

const NOT_WORDS = 'do|does|did|is|are|was|were|would|could|should|have|has|had|must|need';

// Spelling, slang and contractions, in this order, so that the lexicon needs each phrase once.
const REWRITES: readonly (readonly [RegExp, string])[] = [
  [/\b(?:can't|cant|cannot)\b/g, 'can not'],
  [/\b(?:won't|wont)\b/g, 'will not'],
  [/\b(?:ain't|aint)\b/g, 'is not'],
  [/\bshan't\b/g, 'shall not'],
  [/\b([a-z]+)n't\b/g, '$1 not'],
  [new RegExp(`\\b(${NOT_WORDS})nt\\b`, 'g'), '$1 not'],
  [/\bdunno\b/g, 'do not know'],
  [/\b(?:i'm|im)\b/g, 'i am'],
  [/\b(?:i've|ive)\b/g, 'i have'],
  [/\b([a-z]+)'ve\b/g, '$1 have'],
  [/\b([a-z]+)'ll\b/g, '$1 will'],
  [/\b([a-z]+)'d\b/g, '$1 would'],
  [/\b([a-z]+)'re\b/g, '$1 are'],
  [/\b(he|she|it|that|there|what|who|here|life|nothing|everything|everyone|nobody|someone)'?s\b/g, '$1 is'],
  [/\b([a-z]+)'s\b/g, '$1s'],
  [/\b([a-z]+in)'(?= )/g, '$1g'],
  [/\bwanna\b/g, 'want to'],
  [/\b(?:gonna|gunna|finna)\b/g, 'going to'],
  [/\b(?:gotta|hafta)\b/g, 'have to'],
  [/\btryna\b/g, 'trying to'],
  [/\b(?:kms|kill my ?self|kil myself)\b/g, 'kill myself'],
  [/\bkys\b/g, 'kill yourself'],
  [/\bctb\b/g, 'end my life'],
  [/\b(?:my self|meself|myslef|mysefl|mysef|mysel|myselve)\b/g, 'myself'],
  [/\b(?:sui ?cide|sucide|suside|suiside|suicde|sewer ?slide|sewerside)\b/g, 'suicide'],
  [/\b(?:suicidle|suicidel|sucidal|suisidal)\b/g, 'suicidal'],
  [/\bun alive\b/g, 'unalive'],
  [/\bself ?harm/g, 'self harm'],
  [/\b(?:sh)(?= (?:again|relapse|scars|urges))/g, 'self harm'],
  [/\bover dose/g, 'overdose'],
  [/\banymore\b/g, 'any more'],
  [/\b(?:nobody|noone)\b/g, 'no one'],
  [/\beverybody\b/g, 'everyone'],
  [/\bsomebody\b/g, 'someone'],
  [/\banybody\b/g, 'anyone'],
  [/\b(want|wants|wanted|going|ready|need|try|trying|have) 2\b/g, '$1 to'],
  [/\b(?:kermit|commit) suicide\b/g, 'commit suicide'],
  [/\bbf\b/g, 'boyfriend'],
  [/\bgf\b/g, 'girlfriend'],
  [/\bu\b/g, 'you'],
  [/\bur\b/g, 'your'],
  [/\brn\b/g, 'right now'],
  [/\b(?:tonite|2nite|2night)\b/g, 'tonight'],
  [/\b(?:tmrw|tmr|tomorow|tommorow|tommorrow)\b/g, 'tomorrow'],
  [/\b(?:cuz|coz|bc|becuase)\b/g, 'because'],
  [/\b(?:livin|living)\b/g, 'living'],
  [/\bdieing\b/g, 'dying'],
];

/**
 * Brings text to the one form the patterns are written for: lower case, plain Latin letters, contractions written out, hidden words
 * recovered, cut into sentences of single-spaced words.
 *
 * @returns one string of words per sentence; empty when the text has no letter.
 */
export function normaliseSentences(text: string): string[] {
  const plain = text
    .normalize('NFKD')
    .replace(/[\p{M}\p{Cf}]/gu, '')
    .toLowerCase()
    .replace(/[‘’‛ʼ´`′＇]/g, "'")
    .replace(/[\u0370-\u052f]/g, (sign) => LOOKALIKES[sign] ?? sign);
  const rewritten = REWRITES.reduce(
    (result, [pattern, replacement]) => result.replace(pattern, replacement),
    recoverWords(plain),
  );
  const sentences = rewritten
    .split(/[.!?;:\n\r…]+/)
    .map((sentence) =>
      sentence
        .replace(/[^a-z0-9']+/g, ' ')
        .replace(/(?<![a-z])'|'(?![a-z])/g, '')
        .trim(),
    )
    .filter((sentence) => /[a-z]/.test(sentence));
  return joinOneWordSentences(sentences);
}

function recoverWords(text: string): string {
  return joinSpacedLetters(text).split(/(\s+)/).map(unmaskWord).join('').replace(/-/g, ' ');
}

/** `I. want. to. die.` is one sentence. */
function joinOneWordSentences(sentences: string[]): string[] {
  const joined: string[] = [];
  let open = false;
  for (const sentence of sentences) {
    const single = !sentence.includes(' ');
    if (single && open) joined[joined.length - 1] += ` ${sentence}`;
    else joined.push(sentence);
    open = single;
  }
  return joined;
}
