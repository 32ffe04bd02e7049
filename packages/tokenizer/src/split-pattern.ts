import { SplitPreTokenizer } from '@huggingface/tokenizers';

/**
 * How text is cut into words before merging: Llama 3's pattern. Contractions, words with one leading mark or space,
 * up to three digits, runs of marks, line ends, spaces. Merges never cross these borders.
 */
export const SPLIT_PATTERN =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/** The `pre_tokenizer` entry that a trained tokenizer.json carries. */
export const SPLIT_STEP = {
  type: 'Split',
  pattern: { Regex: SPLIT_PATTERN },
  behavior: 'Isolated',
  invert: false,
} as const;

const splitter = new SplitPreTokenizer(SPLIT_STEP);

/** Cuts a text into words exactly as the trained tokenizer will. */
export function splitWords(text: string): string[] {
  return splitter.pre_tokenize_text(text);
}
