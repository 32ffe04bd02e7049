import { SequencePreTokenizer, type Tokenizer } from '@huggingface/tokenizers';
import { toByteCharacters } from './byte-alphabet.js';

type Json = Record<string, unknown>;

/** Words remembered before all are forgotten; a text of millions of words repeats some tens of thousands. */
const CACHED_WORDS = 100_000;
const LONGEST_CACHED = 64;

/** The steps that cut text into words, if `json` does nothing else to it before the merges. */
function splitSteps(json: Json): object[] | undefined {
  const { normalizer, added_tokens: added } = json;
  const { type, pretokenizers: steps } = json.pre_tokenizer as { type: string; pretokenizers?: Json[] };
  if (normalizer || (Array.isArray(added) && added.length > 0) || type !== 'Sequence' || !steps) return undefined;
  const last = steps.at(-1);
  const isPlain = last?.type === 'ByteLevel' && last.use_regex === false && last.add_prefix_space === false;
  return isPlain && steps.slice(0, -1).every((step) => step.type === 'Split') ? steps.slice(0, -1) : undefined;
}

/**
 * Encodes word by word and remembers each word's ids, which is several times faster than encoding the whole text.
 *
 * @param json the `tokenizer.json` that `tokenizer` was built from.
 * @param ids token → id.
 * @returns text → ids, or undefined if the file does more than cut words and merge bytes.
 */
export function wordEncoder(
  json: Json,
  tokenizer: Tokenizer,
  ids: ReadonlyMap<string, number>,
): ((text: string) => number[]) | undefined {
  const steps = splitSteps(json);
  if (!steps) return undefined;
  const splitter = new SequencePreTokenizer({ type: 'Sequence', pretokenizers: steps } as never);
  const known = new Map<string, readonly number[]>();
  const encodeWord = (word: string): readonly number[] => {
    const found = known.get(word);
    if (found) return found;
    const encoded = tokenizer.model!.encode([toByteCharacters(word)]).map((token) => ids.get(token)!);
    if (known.size >= CACHED_WORDS) known.clear();
    if (word.length <= LONGEST_CACHED) known.set(word, encoded);
    return encoded;
  };
  return (text) => {
    const result: number[] = [];
    for (const word of splitter.pre_tokenize(text)) for (const id of encodeWord(word)) result.push(id);
    return result;
  };
}
