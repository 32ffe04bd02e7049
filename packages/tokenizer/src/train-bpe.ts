import { BYTE_ALPHABET, toByteCharacters } from './byte-alphabet.js';
import { MergeLearner } from './merge-learner.js';
import { SPLIT_STEP, splitWords } from './split-pattern.js';
import type { TokenizerJson } from './tokenizer-json.js';

/** What {@link trainBpe} makes. */
export interface BpeTraining {
  /** Entries in all: special tokens, 256 bytes, merges. Fewer come out if the text has fewer pairs. */
  readonly vocabSize: number;
  /** A pair seen less often than this is not merged. Default 2. */
  readonly minFrequency?: number;
  /** Tokens that text never becomes; they take the ids 0, 1, … in this order. */
  readonly specialTokens: readonly string[];
}

/** Where training stands. */
export interface BpeProgress {
  /** Entries so far. */
  readonly entries: number;
  /** Entries asked for. */
  readonly vocabSize: number;
}

const PROGRESS_EVERY = 256;

function check({ vocabSize, minFrequency = 2, specialTokens }: BpeTraining): void {
  const least = specialTokens.length + BYTE_ALPHABET.length;
  if (!Number.isInteger(vocabSize) || vocabSize < least) {
    throw new Error(
      `trainBpe: vocabSize: expected a whole number from ${least} up (${specialTokens.length} special tokens + 256 bytes), got ${vocabSize}.`,
    );
  }
  if (!Number.isInteger(minFrequency) || minFrequency < 1) {
    throw new Error(`trainBpe: minFrequency: expected a whole number from 1 up, got ${minFrequency}.`);
  }
  for (const [i, token] of specialTokens.entries()) {
    if (typeof token !== 'string' || [...token].length < 2) {
      throw new Error(
        `trainBpe: specialTokens[${i}]: expected a text of two characters or more, such as <|endoftext|>, got ${JSON.stringify(token)}; single characters belong to the byte alphabet.`,
      );
    }
    if (specialTokens.indexOf(token) !== i) {
      throw new Error(`trainBpe: specialTokens[${i}]: expected every token once, got ${JSON.stringify(token)} twice.`);
    }
  }
}

function countWords(texts: Iterable<string>): Map<string, number> {
  const counts = new Map<string, number>();
  let index = 0;
  for (const text of texts) {
    if (typeof text !== 'string') {
      throw new Error(`trainBpe: texts[${index}]: expected a string, got ${typeof text}.`);
    }
    for (const word of splitWords(text)) counts.set(word, (counts.get(word) ?? 0) + 1);
    index++;
  }
  return counts;
}

/** The file around vocabulary and merges. */
function assemble(
  tokens: readonly string[],
  merges: readonly (readonly [string, string])[],
  specialTokens: readonly string[],
): TokenizerJson {
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: specialTokens.map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: null,
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [SPLIT_STEP, { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false }],
    },
    post_processor: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: false, use_regex: false },
    decoder: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges,
    },
  };
}

/**
 * Trains a byte-level BPE tokenizer (Sennrich et al., arXiv:1508.07909, over GPT-2's byte alphabet, with Llama 3's word
 * pattern). Deterministic: the same texts give the same file, in any order.
 *
 * @param texts read once; only counts of distinct words are kept.
 * @param training sizes and special tokens.
 * @param onProgress called every 256 entries and at the end.
 * @returns a `tokenizer.json` that this package, `@huggingface/tokenizers` and Python's `tokenizers` load.
 * @throws if a setting is impossible or a text is not a string.
 */
export function trainBpe(
  texts: Iterable<string>,
  training: BpeTraining,
  onProgress?: (progress: BpeProgress) => void,
): TokenizerJson {
  check(training);
  const { vocabSize, minFrequency = 2, specialTokens } = training;
  const tokens = [...specialTokens, ...BYTE_ALPHABET];
  const ids = new Map(tokens.map((token, id) => [token, id]));
  const words = [...countWords(texts)].map(([word, count]) => ({
    ids: Array.from(toByteCharacters(word), (character) => ids.get(character)!),
    count,
  }));
  const learner = new MergeLearner(words);
  const merges: [string, string][] = [];
  while (tokens.length < vocabSize) {
    const pair = learner.next(minFrequency);
    if (!pair) break;
    const { left, right } = pair;
    const token = tokens[left] + tokens[right];
    if (specialTokens.includes(token)) continue; // text must never become a special token
    let id = ids.get(token);
    if (id === undefined) {
      id = tokens.push(token) - 1;
      ids.set(token, id);
    }
    merges.push([tokens[left], tokens[right]]);
    learner.merge(left, right, id);
    if (tokens.length % PROGRESS_EVERY === 0) onProgress?.({ entries: tokens.length, vocabSize });
  }
  onProgress?.({ entries: tokens.length, vocabSize });
  return assemble(tokens, merges, specialTokens);
}
