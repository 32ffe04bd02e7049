import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers';
import { type ByteLevelVocabulary, type ReadAddedToken, readVocabulary } from './byte-level-vocabulary.js';
import { type ChatMessage, checkMessages } from './chat-message.js';
import { ChatTemplate } from './chat-template.js';
import { ContentShield } from './content-shield.js';
import { StreamDecoder } from './stream-decoder.js';
import { readTokenizerFiles } from './tokenizer-files.js';
import { wordEncoder } from './word-encoder.js';

type Json = Record<string, unknown>;

/** How {@link Tokenizer.encode} treats special tokens. */
export interface EncodeOptions {
  /** Add what the file's post-processor adds, such as a token at the start. Default false. */
  readonly addSpecialTokens?: boolean;
  /**
   * Read special tokens spelled out in the text as such. Default false: text is text, whatever it spells. Set it only
   * for text that no user wrote.
   */
  readonly parseSpecialTokens?: boolean;
}

/** How {@link Tokenizer.decode} treats special tokens. */
export interface DecodeOptions {
  /** Leave special tokens out of the text. Default true. */
  readonly skipSpecialTokens?: boolean;
}

/** How a conversation is laid out. */
export interface ChatOptions {
  /** End with the opening of the assistant's turn, so that a model continues it. Default false. */
  readonly addGenerationPrompt?: boolean;
}

/** The token a config names, as text or as `{content}`. */
function namedToken(config: Json, field: string): string | undefined {
  const value = config[field];
  if (value === undefined || value === null) return undefined;
  if (typeof value === 'string') return value;
  const content = (value as { content?: unknown }).content;
  if (typeof content === 'string') return content;
  throw new Error(
    `tokenizer: tokenizer_config.json: ${field}: expected a token or {content}, got ${JSON.stringify(value)}.`,
  );
}

/** The template a config carries: one text, or a list of named ones of which we take "default". */
function templateSource(config: Json): string | undefined {
  const value = config.chat_template;
  if (value === undefined || value === null) return undefined;
  if (typeof value === 'string') return value;
  const named = Array.isArray(value) ? value.find((entry) => (entry as Json | null)?.name === 'default') : undefined;
  if (typeof named?.template === 'string') return named.template;
  throw new Error(
    'tokenizer: tokenizer_config.json: chat_template: expected a text, or a list with a template named "default".',
  );
}

function escapePattern(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');
}

function build(json: Json, config: Json): HuggingFaceTokenizer {
  try {
    return new HuggingFaceTokenizer({ normalizer: null, post_processor: null, added_tokens: [], ...json }, config);
  } catch (cause) {
    throw new Error(`tokenizer: tokenizer.json: expected steps that can be built, got: ${(cause as Error).message}`, {
      cause,
    });
  }
}

/** The file without its special tokens: what it encodes can be nothing but text. */
function withoutSpecialTokens(json: Json, special: ReadonlySet<string>): Json {
  const { vocab, merges, ...model } = json.model as { vocab: Json; merges: (string | [string, string])[] };
  const parts = (merge: string | [string, string]): string[] => (typeof merge === 'string' ? merge.split(' ') : merge);
  return {
    ...json,
    post_processor: null,
    added_tokens: ((json.added_tokens ?? []) as ReadAddedToken[]).filter(({ content }) => !special.has(content)),
    model: {
      ...model,
      vocab: Object.fromEntries(Object.entries(vocab).filter(([token]) => !special.has(token))),
      merges: merges.filter((merge) => !special.has(parts(merge).join(''))).map(parts),
    },
  };
}

/**
 * A byte-level BPE tokenizer with its chat template. Special tokens come from the template, never from text: what a
 * person writes is encoded as text even where it spells one.
 */
export class Tokenizer {
  /** One more than the largest id. */
  readonly vocabSize: number;
  /** The token that ends a text or a turn, if the config names one. */
  readonly eosTokenId: number | undefined;
  /** The token that starts a text, if the config names one. */
  readonly bosTokenId: number | undefined;
  /** The token that fills up a batch, if the config names one. */
  readonly padTokenId: number | undefined;

  private readonly vocabulary: ByteLevelVocabulary;
  private readonly added: ReadonlyMap<number, ReadAddedToken>;
  private readonly special: ReadonlyMap<string, ReadAddedToken>;
  private readonly specialPattern: RegExp | undefined;
  private readonly template: ChatTemplate | undefined;
  /** Text → ids, no special token among them. */
  private readonly encodePlain: (text: string) => number[];
  private frame: { before: number[]; after: number[] } | undefined;

  private constructor(
    private readonly json: Json,
    private readonly config: Json,
  ) {
    this.vocabulary = readVocabulary(json);
    const { bytes, addedTokens } = this.vocabulary;
    this.vocabSize = bytes.length;
    this.added = new Map(addedTokens.map((token) => [token.id, token]));
    this.special = new Map(addedTokens.filter(({ special }) => special).map((token) => [token.content, token]));
    if (this.special.size) {
      const longestFirst = [...this.special.keys()].sort((a, b) => b.length - a.length);
      this.specialPattern = new RegExp(`(${longestFirst.map(escapePattern).join('|')})`, 'u');
    }
    const tokens = {
      bos_token: namedToken(config, 'bos_token'),
      eos_token: namedToken(config, 'eos_token'),
      pad_token: namedToken(config, 'pad_token'),
    };
    const idOf = (token: string | undefined): number | undefined =>
      token === undefined ? undefined : this.tokenId(token);
    this.bosTokenId = idOf(tokens.bos_token);
    this.eosTokenId = idOf(tokens.eos_token);
    this.padTokenId = idOf(tokens.pad_token);
    const source = templateSource(config);
    if (source !== undefined) this.template = new ChatTemplate(source, tokens);
    const plain = withoutSpecialTokens(json, new Set(this.special.keys()));
    const built = build(plain, config);
    this.encodePlain =
      wordEncoder(plain, built, this.vocabulary.ids) ??
      ((text) => (text === '' ? [] : built.encode(text, { add_special_tokens: false }).ids));
  }

  /**
   * Reads `tokenizer.json`, and `tokenizer_config.json` and `chat_template.jinja` where present.
   *
   * @throws if the folder has no tokenizer.json, or a file is not what it should be: the error names file and field.
   */
  static async fromDirectory(directory: string): Promise<Tokenizer> {
    const { json, config } = await readTokenizerFiles(directory);
    return new Tokenizer(json, config);
  }

  /**
   * @param tokenizerJson the content of a `tokenizer.json`: byte-level BPE.
   * @param tokenizerConfig the content of a `tokenizer_config.json`.
   * @throws if either is not what it should be: the error names the field.
   */
  static fromJson(tokenizerJson: object, tokenizerConfig: object = {}): Tokenizer {
    if (typeof tokenizerJson !== 'object' || tokenizerJson === null) {
      throw new Error(`tokenizer: tokenizer.json: expected an object, got ${JSON.stringify(tokenizerJson)}.`);
    }
    return new Tokenizer(tokenizerJson as Json, tokenizerConfig as Json);
  }

  /**
   * Text → ids. Lone surrogates, which UTF-8 cannot hold, become U+FFFD.
   *
   * @throws if `text` is not a string.
   */
  encode(text: string, { addSpecialTokens = false, parseSpecialTokens = false }: EncodeOptions = {}): number[] {
    if (typeof text !== 'string') {
      throw new Error(`tokenizer: encode: expected a string, got ${text === null ? 'null' : typeof text}.`);
    }
    const ids = parseSpecialTokens ? this.encodePieces(this.cut(text)) : this.encodePlain(text);
    if (!addSpecialTokens) return ids;
    this.frame ??= this.specialFrame();
    return [...this.frame.before, ...ids, ...this.frame.after];
  }

  /**
   * Ids → text, exactly: nothing is cleaned up. Bytes that are not UTF-8 become U+FFFD.
   *
   * @throws if the vocabulary lacks an id.
   */
  decode(ids: Iterable<number>, { skipSpecialTokens = true }: DecodeOptions = {}): string {
    const decoder = new StreamDecoder(this, skipSpecialTokens);
    let text = '';
    for (const id of ids) text += decoder.push(id);
    return text + decoder.flush();
  }

  /** The id of a token as the file spells it. @throws if there is none. */
  tokenId(token: string): number {
    const id = this.vocabulary.ids.get(token);
    if (id !== undefined) return id;
    throw new Error(
      `tokenizer: tokenId: expected a token of the vocabulary (${this.vocabSize} entries), got ${JSON.stringify(token)}.`,
    );
  }

  /** The bytes a token stands for. The array is the tokenizer's: read only. @throws if the vocabulary lacks the id. */
  tokenBytes(id: number): Uint8Array {
    const bytes = this.vocabulary.bytes[id];
    if (bytes) return bytes;
    throw new Error(`tokenizer: expected token ids from 0 to ${this.vocabSize - 1}, got ${id}.`);
  }

  /** True for an added token: matched as a whole, outside the merges. */
  isAdded(id: number): boolean {
    return this.added.has(id);
  }

  /** True for a special token, which no text becomes. */
  isSpecial(id: number): boolean {
    return this.added.get(id)?.special === true;
  }

  /**
   * Lays a conversation out as text. For looking at: to feed a model use {@link encodeChat}, because in the text a
   * special token that a person wrote looks like the template's own.
   *
   * @throws if there is no template, or the messages are not `{role, content}` with known roles.
   */
  applyChatTemplate(messages: readonly ChatMessage[], { addGenerationPrompt = false }: ChatOptions = {}): string {
    checkMessages(messages);
    return this.chatTemplate().render(messages, addGenerationPrompt);
  }

  /**
   * Lays a conversation out as ids. Special tokens come from the template alone: contents are shielded while the
   * template runs, so `<|endoftext|>` in a message is encoded as the characters it is.
   *
   * @throws if there is no template, or the messages are not `{role, content}` with known roles.
   */
  encodeChat(messages: readonly ChatMessage[], { addGenerationPrompt = false }: ChatOptions = {}): number[] {
    checkMessages(messages);
    const template = this.chatTemplate();
    const texts = [template.source, ...messages.map(({ content }) => content)];
    const shield = new ContentShield([...this.special.keys()], texts);
    const rendered = template.render(
      messages.map((message) => shield.protect(message)),
      addGenerationPrompt,
    );
    return this.encodePieces(
      this.cut(rendered).map((piece) => (typeof piece === 'string' ? shield.reveal(piece) : piece)),
    );
  }

  /** The text of the chat template, if there is one. */
  get templateSource(): string | undefined {
    return this.template?.source;
  }

  private chatTemplate(): ChatTemplate {
    if (this.template) return this.template;
    throw new Error(
      'tokenizer: expected a chat_template in tokenizer_config.json, got none; this tokenizer encodes text, not conversations.',
    );
  }

  private encodePieces(pieces: readonly (string | number)[]): number[] {
    return pieces.flatMap((piece) => (typeof piece === 'string' ? this.encodePlain(piece) : piece));
  }

  /** Cuts a text at special tokens: texts and ids in turn. */
  private cut(text: string): (string | number)[] {
    if (!this.specialPattern) return [text];
    const parts = text.split(this.specialPattern); // text, token, text, token, …, text
    for (let i = 1; i < parts.length; i += 2) {
      const { lstrip, rstrip } = this.special.get(parts[i])!;
      if (lstrip) parts[i - 1] = parts[i - 1].trimEnd();
      if (rstrip) parts[i + 1] = parts[i + 1].trimStart();
    }
    return parts.map((part, i) => (i % 2 ? this.special.get(part)!.id : part));
  }

  /** What the file's post-processor puts before and after a text, found by looking at one. */
  private specialFrame(): { before: number[]; after: number[] } {
    const probe = this.encodePlain('a');
    const framed = build(this.json, this.config).encode('a').ids;
    const start = framed.findIndex((_, i) => probe.every((id, j) => framed[i + j] === id));
    if (start < 0) {
      throw new Error(
        'tokenizer: tokenizer.json: post_processor: expected special tokens around the text only, got a text changed inside; encode without addSpecialTokens.',
      );
    }
    return { before: framed.slice(0, start), after: framed.slice(start + probe.length) };
  }
}
