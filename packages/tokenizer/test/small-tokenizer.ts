import { CHAT_SPECIAL_TOKENS, chatTokenizerConfig } from '../src/chat-template.js';
import { Tokenizer } from '../src/tokenizer.js';
import type { TokenizerJson } from '../src/tokenizer-json.js';
import { trainBpe } from '../src/train-bpe.js';

const TEXT = [
  'How do you feel today? I feel tired, and I slept badly again.',
  'You feel tired today. Did you sleep badly this week? Tell me how the week was for you.',
  'Be kind and ask one question at a time. Today is a good day to rest.',
];

/** A tokenizer of a few hundred entries, trained on invented sentences. */
export function smallTokenizerJson(): TokenizerJson {
  return trainBpe(TEXT, { vocabSize: 310, minFrequency: 1, specialTokens: CHAT_SPECIAL_TOKENS });
}

/** The same, with our chat template. */
export function smallTokenizer(): Tokenizer {
  return Tokenizer.fromJson(smallTokenizerJson(), chatTokenizerConfig(512));
}
