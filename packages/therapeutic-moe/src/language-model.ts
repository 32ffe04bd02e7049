import * as tf from '@tensorflow/tfjs-core';
import { type Decoder, generateText, guidedDecoder, KeptSessions, type TextSampling } from '@therapeutic-moe/generate';
import { crossEntropy } from '@therapeutic-moe/kernels';
import type { CausalLm, SessionOptions } from '@therapeutic-moe/model';
import {
  type ChatEvent,
  type ChatMessage,
  type ChatModel,
  type ChatOptions,
  ContextLengthError,
} from '@therapeutic-moe/server';
import { StreamDecoder, type Tokenizer } from '@therapeutic-moe/tokenizer';
import type { GenerationDefaults } from './generation-defaults.js';
import { type RoutedText, routeIds } from './routed-text.js';

/** The target of a position that is not scored. */
const UNCOUNTED = -100;

/** Tokens that a reply must have room for, unless it was asked to be shorter: with less it would end after a few words. */
const SHORTEST_ROOM = 64;

/** How well a model predicts a text. */
export interface TextScore {
  /** Summed over the scored tokens. */
  readonly nats: number;
  readonly tokens: number;
  /** UTF-8 bytes of what was scored. */
  readonly bytes: number;
}

/** What a language model is made of. */
export interface LanguageModelParts {
  /** The name clients send as `model`. */
  readonly id: string;
  readonly decoder: CausalLm;
  readonly tokenizer: Tokenizer;
  /** How it samples unless asked otherwise. */
  readonly defaults: GenerationDefaults;
  /** Identifies the weights, so that a cache never answers for other ones. */
  readonly revision: string;
  /** Identifies the adapter, where there is one. */
  readonly adapter?: string;
  /** Conversations whose keys and values are kept, so that a next turn computes only what is new; 0 keeps none. Default 1. */
  readonly keptSessions?: number;
  /** How replies keep keys and values: `int8` takes about a quarter of the memory, and replies may differ. Default `float32`. */
  readonly kvCache?: SessionOptions['kvCache'];
}

/** A model with its tokenizer: text in, text out. It answers as a `ChatModel` of the server, streams to a terminal, and scores texts. */
export class LanguageModel implements ChatModel {
  /** The text of the template that lays conversations out; empty where the tokenizer has none. */
  readonly template: string;
  readonly id: string;
  readonly decoder: CausalLm;
  readonly tokenizer: Tokenizer;
  /** How it samples unless asked otherwise; what a caller passes on to `chat` or `stream`. */
  readonly defaults: Omit<GenerationDefaults, 'guidanceScale' | 'stopTokens' | 'bosTokenId'>;
  readonly revision: string;
  readonly adapter?: string;
  readonly #replying: KeptSessions;
  readonly #stopTokens: readonly number[];
  readonly #start: number | undefined;

  /** @param parts the decoder is owned from now on. */
  constructor(parts: LanguageModelParts) {
    const { id, decoder, tokenizer, defaults, revision, adapter, keptSessions, kvCache = 'float32' } = parts;
    this.id = id;
    this.decoder = decoder;
    this.tokenizer = tokenizer;
    // Guidance and the tokens around a text are parts of the model, not of one reply.
    const { guidanceScale: scale, stopTokens = [], bosTokenId, ...sampling } = defaults;
    this.defaults = sampling;
    this.template = tokenizer.templateSource ?? '';
    this.#stopTokens = [...new Set([...stopTokens, tokenizer.eosTokenId ?? []].flat())];
    this.#start = tokenizer.bosTokenId ?? bosTokenId ?? tokenizer.eosTokenId;
    this.revision = [revision, scale > 1 && `guidance ${scale}`, kvCache === 'int8' && 'int8 cache']
      .filter(Boolean)
      .join(', ');
    if (adapter) this.adapter = adapter;
    const plain: Decoder = {
      vocabSize: decoder.vocabSize,
      maxPositions: decoder.maxPositions,
      createSession: () => decoder.createSession({ kvCache }),
    };
    const guided = () => guidedDecoder(plain, { scale, unconditionalIds: generationPrompt(tokenizer) });
    this.#replying = new KeptSessions(scale > 1 ? guided() : plain, keptSessions);
  }

  get contextLength(): number {
    return this.decoder.maxPositions;
  }

  /** Names of the experts: their domains where the model names them. */
  get expertNames(): readonly string[] {
    const { mixture } = this.decoder.config;
    if (!mixture) return [];
    return mixture.domains ?? Array.from({ length: mixture.numExperts }, (_, e) => `expert ${e}`);
  }

  /**
   * Streams the reply to one message.
   *
   * @param prompt what the user says. @returns pieces of text.
   */
  async *stream(prompt: string, sampling: TextSampling = {}, signal?: AbortSignal): AsyncGenerator<string> {
    yield* this.#generate([{ role: 'user', content: prompt }], { ...this.defaults, ...sampling }, signal);
  }

  /** Answers a conversation: pieces of text, then one `done` with usage and routing. */
  async *chat(messages: ChatMessage[], options: ChatOptions, signal: AbortSignal): AsyncIterable<ChatEvent> {
    const pieces = this.#generate(messages, options, signal);
    try {
      let next = await pieces.next();
      for (; !next.done; next = await pieces.next()) yield { type: 'text', text: next.value };
      const { finishReason, usage, expertCounts, promptExpertCounts } = next.value;
      const visits = expertCounts.map((count, e) => count + promptExpertCounts[e]!);
      yield { type: 'done', finishReason, usage, routing: this.#shares(visits) };
    } finally {
      await pieces.return(undefined as never); // a caller who stops reading must give the session back too
    }
  }

  /** Negative log-likelihood of a text, after an end-of-text token. */
  async score(text: string): Promise<TextScore> {
    const ids = this.#withStart(text);
    const targets = ids.map((id, position) => (position > 0 ? id : UNCOUNTED));
    return { nats: await this.#nats(ids, targets), tokens: ids.length - 1, bytes: byteLength(text) };
  }

  /** Negative log-likelihood of the assistant's turns in a conversation, each after everything said before it; the turn's end token counts too. */
  async scoreReplies(messages: readonly ChatMessage[]): Promise<TextScore> {
    const ids = this.tokenizer.encodeChat([...messages], { addGenerationPrompt: false });
    const targets = ids.map(() => UNCOUNTED);
    let bytes = 0;
    for (const [turn, { role, content }] of messages.entries()) {
      if (role !== 'assistant') continue;
      const before = this.#promptOf(messages.slice(0, turn)).length;
      const after = this.tokenizer.encodeChat(messages.slice(0, turn + 1), { addGenerationPrompt: false });
      const end =
        this.tokenizer.eosTokenId === undefined ? after.length : after.lastIndexOf(this.tokenizer.eosTokenId) + 1;
      for (let position = before; position < end; position++) targets[position] = ids[position]!;
      bytes += byteLength(content);
    }
    const tokens = targets.filter((target) => target !== UNCOUNTED).length;
    if (tokens === 0) throw new Error('model.scoreReplies: the conversation has no assistant turn to score.');
    return { nats: await this.#nats(ids, targets), tokens, bytes };
  }

  /** Where every token of a text goes in every layer, the token that starts it first. */
  trace(text: string): Promise<RoutedText> {
    return routeIds(this.decoder, this.#withStart(text));
  }

  /** Share of each expert in the choices that a text's tokens make, mean over layers and tokens. */
  async routing(text: string): Promise<Record<string, number>> {
    const { layers } = await this.trace(text);
    const visits = new Float32Array(this.expertNames.length);
    for (const { indices } of layers) for (const expert of indices) visits[expert]! += 1;
    return this.#shares(visits);
  }

  /** The characters that each token of a text completes, often none. */
  tokenTexts(text: string): string[] {
    const stream = new StreamDecoder(this.tokenizer, false);
    return this.tokenizer.encode(text).map((id) => stream.push(id));
  }

  /** Frees the weights and the kept conversations. */
  dispose(): void {
    this.#replying.dispose();
    this.decoder.dispose();
  }

  /**
   * Summed nats of the counted targets. What is longer than the context is scored in windows that overlap by half, so that every later token has at least
   * half a context before it.
   */
  async #nats(ids: readonly number[], targets: readonly number[]): Promise<number> {
    let nats = 0;
    for (const { start, end, counted } of scoringWindows(ids.length, this.contextLength)) {
      const loss = tf.tidy(() => {
        const input = tf.tensor2d([ids.slice(start, end - 1)], [1, end - 1 - start], 'int32');
        const { logits } = this.decoder.forward(input);
        const wanted = targets.slice(start + 1, end).map((id, i) => (start + 1 + i >= counted ? id : UNCOUNTED));
        return tf.sum(crossEntropy(tf.reshape(logits, [-1, this.decoder.vocabSize]), tf.tensor1d(wanted, 'int32')));
      });
      nats += (await loss.data())[0]!;
      loss.dispose();
    }
    return nats;
  }

  #generate(messages: ChatMessage[], sampling: TextSampling, signal?: AbortSignal) {
    const prompt = this.#promptOf(messages);
    const least = Math.min(sampling.maxTokens ?? SHORTEST_ROOM, SHORTEST_ROOM);
    if (prompt.length + least > this.contextLength) throw new ContextLengthError(prompt.length, this.contextLength);
    const stopTokens = sampling.stopTokens ?? this.#stopTokens;
    const stream = new StreamDecoder(this.tokenizer);
    return generateText(this.#replying, stream, prompt, { ...sampling, stopTokens }, signal);
  }

  /** The tokens before a reply; a conversation that the assistant opens has the generation prompt alone. */
  #promptOf(messages: ChatMessage[]): number[] {
    if (messages.length === 0) return generationPrompt(this.tokenizer);
    return this.tokenizer.encodeChat(messages, { addGenerationPrompt: true });
  }

  #withStart(text: string): number[] {
    const start = this.#start;
    if (start === undefined)
      throw new Error('model.score: the tokenizer has neither a bos nor an eos token to start a text with.');
    const ids = this.tokenizer.encode(text);
    if (ids.length === 0) throw new Error('model.score: the text is empty; there is nothing to score.');
    return [start, ...ids];
  }

  #shares(visits: Float32Array): Record<string, number> {
    const total = visits.reduce((sum, count) => sum + count, 0);
    return Object.fromEntries(this.expertNames.map((name, e) => [name, visits[e]! / total]));
  }
}

const byteLength = (text: string): number => new TextEncoder().encode(text).length;

/** The tokens that open a reply, whatever was asked: what the template adds behind a conversation. */
function generationPrompt(tokenizer: Tokenizer): number[] {
  const anything = [{ role: 'user' as const, content: '.' }];
  const without = tokenizer.encodeChat(anything, { addGenerationPrompt: false }).length;
  return tokenizer.encodeChat(anything, { addGenerationPrompt: true }).slice(without);
}

/** Windows `[start, end)` over `length` tokens; in each, the targets from position `counted` on have not been scored before. */
function scoringWindows(length: number, context: number): { start: number; end: number; counted: number }[] {
  const span = context + 1; // inputs and the target of the last one
  const step = Math.max(1, Math.floor(context / 2));
  const windows = [{ start: 0, end: Math.min(length, span), counted: 1 }];
  while (windows.at(-1)!.end < length) {
    const { end } = windows.at(-1)!;
    const next = Math.min(length, end + step);
    windows.push({ start: Math.max(0, next - span), end: next, counted: end });
  }
  return windows;
}
