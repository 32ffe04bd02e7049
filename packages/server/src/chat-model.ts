/** One turn of a conversation, as the server hands it to a model. OpenAI's `developer` role arrives as `system`. */
export interface ChatMessage {
  role: 'system' | 'user' | 'assistant';
  content: string;
}

/** How one reply is sampled. The server has validated every field and filled in its own defaults. */
export interface ChatOptions {
  /** 0 is greedy; at most 2. */
  temperature: number;
  /** Nucleus mass in (0, 1]. */
  topP: number;
  /** Most likely tokens kept before sampling; absent keeps all. */
  topK?: number;
  /** Divides the logits of tokens already seen; 1 is off. */
  repetitionPenalty?: number;
  /** Makes a sampled reply repeatable. */
  seed?: number;
  /** Longest reply, in tokens. */
  maxTokens: number;
  /** Texts that end the reply; they are not part of it. At most four. */
  stop: string[];
}

/** What a model says while it answers: pieces of text, then exactly one `done`. */
export type ChatEvent =
  | { type: 'text'; text: string }
  | {
      type: 'done';
      finishReason: 'stop' | 'length';
      usage: { promptTokens: number; completionTokens: number };
      /** Expert (domain) name to its share of the visits of this reply; the shares sum to 1. */
      routing: Record<string, number>;
    };

/**
 * What the server needs from a model. It declares this interface and never sees tensors; whoever has a decoder
 * fulfils it.
 */
export interface ChatModel {
  /** The name clients send as `model`. */
  readonly id: string;
  /** Positions that prompt and reply share, in tokens. */
  readonly contextLength: number;
  /** Revision of the weights, such as a hash; part of the cache key, so that new weights never meet old answers. */
  readonly revision?: string;
  /** The id of the model that this one is an adapter of; absent: it stands for itself. */
  readonly parent?: string;
  /** The adapter in use and its revision, where there is one; part of the cache key. */
  readonly adapter?: string;
  /** The chat template or its hash; part of the cache key. */
  readonly template?: string;
  /**
   * Answers a conversation. The iterable must stop soon after `signal` aborts and must release its memory when it is
   * returned early. A prompt that does not fit throws a {@link ContextLengthError}.
   */
  chat(messages: ChatMessage[], options: ChatOptions, signal: AbortSignal): AsyncIterable<ChatEvent>;
}

/** Thrown by a {@link ChatModel} when a conversation does not fit its context; clients see status 400 and this message. */
export class ContextLengthError extends Error {
  /** How the server recognises it, also across package copies. */
  readonly code = 'context_length_exceeded';

  constructor(promptTokens: number, contextLength: number) {
    super(
      `messages: the conversation takes ${promptTokens} tokens and this model has room for ${contextLength}, reply included; shorten the messages or start a new conversation.`,
    );
    this.name = 'ContextLengthError';
  }
}
