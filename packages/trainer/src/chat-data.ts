import type { DataSource } from './data-source.js';
import { DomainSampler, type SamplerState } from './domain-sampler.js';
import { checkCounts, type EvaluationSet, expectState, takeEvenly } from './packed-text.js';
import { ignoredTarget, noDomain, type TrainBatch } from './trainable.js';

/** One tokenised conversation. */
export interface Conversation {
  readonly ids: Int32Array;
  /** Same length; 1 for the tokens of a reply (its end token included), whose prediction counts. */
  readonly counted: Uint8Array;
  /** -1 where none is known. */
  readonly domain: number;
  /** UTF-8 bytes of the replies, for bits per byte. */
  readonly bytes: number;
}

/** A message as the chat template takes it. */
export interface TrainMessage {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
}

/** How `encodeConversation` turns messages into tokens. */
export interface ConversationEncoding {
  /** The tokenizer's chat template, as token ids. */
  encodeChat(messages: TrainMessage[], options: { addGenerationPrompt: boolean }): ArrayLike<number>;
  /** Ends a reply; counted tokens of a reply stop there. */
  readonly eosTokenId: number;
  /** Most tokens of a conversation, prompt included. */
  readonly maxTokens: number;
}

/**
 * Tokens of a conversation with the replies marked. One that is too long loses its oldest messages first (system
 * messages stay); when its last question and reply alone are too long the answer is `undefined`.
 *
 * @returns the tokens and `dropped`, the number of messages removed from the left; or undefined.
 * @throws when there is no reply, or when the template does not write the prompt as the beginning of the whole.
 */
export function encodeConversation(
  messages: readonly TrainMessage[],
  { encodeChat, eosTokenId, maxTokens }: ConversationEncoding,
): { ids: Int32Array; counted: Uint8Array; bytes: number; dropped: number } | undefined {
  const last = messages.findLastIndex((message) => message.role === 'assistant');
  if (last < 0)
    throw new Error(
      'encodeConversation: there is no assistant message; a conversation without a reply teaches nothing.',
    );
  const system = messages.filter((message) => message.role === 'system');
  let turns = messages.slice(0, last + 1).filter((message) => message.role !== 'system');
  const whole = turns.length;
  let ids = Int32Array.from(encodeChat([...system, ...turns], { addGenerationPrompt: false }));
  while (ids.length > maxTokens + 1) {
    const nextUser = turns.findIndex((message, i) => i > 0 && message.role === 'user');
    if (nextUser < 0) return undefined;
    turns = turns.slice(nextUser);
    ids = Int32Array.from(encodeChat([...system, ...turns], { addGenerationPrompt: false }));
  }
  const counted = new Uint8Array(ids.length);
  let bytes = 0;
  turns.forEach((message, i) => {
    if (message.role !== 'assistant') return;
    const start = encodeChat([...system, ...turns.slice(0, i)], { addGenerationPrompt: true }).length;
    const stop = encodeChat([...system, ...turns.slice(0, i + 1)], { addGenerationPrompt: false }).length;
    const end = ids.subarray(start, stop).lastIndexOf(eosTokenId);
    if (start >= stop || end < 0) {
      throw new Error(
        'encodeConversation: the chat template does not end a reply with the eos token after its generation prompt; replies cannot be told from prompts.',
      );
    }
    counted.fill(1, start, start + end + 1);
    bytes += new TextEncoder().encode(message.content).length;
  });
  return { ids, counted, bytes, dropped: whole - turns.length };
}

/** Settings of `chatData`. */
export interface ChatDataOptions {
  /** Rows of a micro-batch. */
  readonly batch: number;
  /** Most input tokens of a row. */
  readonly seq: number;
  /** Fills rows on the right; masked and never counted. */
  readonly padTokenId: number;
  readonly seed: number;
  /**
   * Share of the conversations per domain. Default: in proportion to the domains' counted tokens, conversations without
   * one as a group.
   */
  readonly domainWeights?: Readonly<Record<number, number>>;
  /** Rows are padded to a multiple of this. Default 16. */
  readonly padMultiple?: number;
}

/**
 * Endless chat data: one conversation per row, padded on the right, prompt tokens not counted. A step's conversations are
 * drawn together and laid into micro-batches by length, so that little is padding; what a step holds stays the same.
 *
 * @throws when there are no conversations, one is longer than `seq + 1`, or a weight and the data disagree.
 */
export function chatData(conversations: readonly Conversation[], options: ChatDataOptions): DataSource {
  const { batch, seq, padTokenId, seed, domainWeights, padMultiple = 16 } = options;
  checkCounts('chatData', { batch, seq, padMultiple });
  if (conversations.length === 0) throw new Error('chatData: there are no conversations. Name a file that has rows.');
  const tooLong = conversations.findIndex((conversation) => conversation.ids.length > seq + 1);
  if (tooLong >= 0) {
    throw new Error(
      `chatData: conversation ${tooLong} has ${conversations[tooLong].ids.length} tokens, a row holds ${seq + 1}. Shorten it with encodeConversation.`,
    );
  }
  const sampler = new DomainSampler(
    conversations.map((conversation) => conversation.domain),
    seed,
    conversations.map((conversation) => conversation.counted.reduce((sum, one) => sum + one, 0)),
    domainWeights,
  );
  const draw = (): Conversation => {
    const domain = sampler.drawDomain();
    const { item } = sampler.current(domain);
    sampler.advance(domain);
    return conversations[item];
  };
  return {
    nextStep(microBatches) {
      const drawn = Array.from({ length: microBatches * batch }, draw).sort((a, b) => b.ids.length - a.ids.length);
      return Array.from({ length: microBatches }, (_, i) =>
        padConversations(drawn.slice(i * batch, (i + 1) * batch), { seq, padTokenId, padMultiple }),
      );
    },
    state: () => ({ kind: 'chat', batch, seq, sampler: sampler.state() }),
    restore(state) {
      expectState('chatData', state, { kind: 'chat', batch, seq });
      sampler.restore(state.sampler as SamplerState);
    },
    drawn: () => sampler.drawn(),
  };
}

/** One micro-batch of whole conversations, padded on the right to the longest. */
export function padConversations(
  conversations: readonly Conversation[],
  { seq, padTokenId, padMultiple = 16 }: { seq: number; padTokenId: number; padMultiple?: number },
): TrainBatch {
  const longest = Math.max(...conversations.map((conversation) => conversation.ids.length - 1));
  const width = Math.min(seq, Math.ceil(longest / padMultiple) * padMultiple);
  const size = conversations.length * width;
  const ids = new Int32Array(size).fill(padTokenId);
  const targets = new Int32Array(size).fill(ignoredTarget);
  const domains = new Int32Array(size).fill(noDomain);
  const mask = new Uint8Array(size);
  conversations.forEach((conversation, row) => {
    const length = conversation.ids.length - 1;
    ids.set(conversation.ids.subarray(0, length), row * width);
    mask.fill(1, row * width, row * width + length);
    domains.fill(conversation.domain < 0 ? noDomain : conversation.domain, row * width, row * width + length);
    for (let i = 0; i < length; i += 1)
      if (conversation.counted[i + 1]) targets[row * width + i] = conversation.ids[i + 1];
  });
  return { batch: conversations.length, seq: width, ids, targets, mask, domains };
}

/** Conversations as fixed batches, taken evenly over the list until `maxTokens` tokens. Bytes are those of the replies. */
export function chatEvaluation(
  conversations: readonly Conversation[],
  { batch, seq, padTokenId, maxTokens }: { batch: number; seq: number; padTokenId: number; maxTokens?: number },
): EvaluationSet {
  checkCounts('chatEvaluation', { batch, seq });
  const chosen = takeEvenly(conversations, (conversation) => conversation.ids.length, maxTokens).sort(
    (a, b) => b.ids.length - a.ids.length,
  );
  const batches: TrainBatch[] = [];
  for (let i = 0; i < chosen.length; i += batch)
    batches.push(padConversations(chosen.slice(i, i + batch), { seq, padTokenId }));
  return {
    batches,
    tokens: chosen.reduce((sum, conversation) => sum + conversation.counted.reduce((a, b) => a + b, 0), 0),
    bytes: chosen.reduce((sum, conversation) => sum + conversation.bytes, 0),
  };
}
