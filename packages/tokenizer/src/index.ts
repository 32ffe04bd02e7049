export type { ChatMessage } from './chat-message.js';
export { CHAT_SPECIAL_TOKENS, CHAT_TEMPLATE, chatTokenizerConfig, type TokenizerConfig } from './chat-template.js';
export { StreamDecoder } from './stream-decoder.js';
export { type ChatOptions, type DecodeOptions, type EncodeOptions, Tokenizer } from './tokenizer.js';
export type { AddedToken, TokenizerJson } from './tokenizer-json.js';
export { type BpeProgress, type BpeTraining, trainBpe } from './train-bpe.js';
