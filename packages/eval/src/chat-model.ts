/** One turn of a conversation. */
export interface EvaluationMessage {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
}

/** A model's answer. */
export interface ChatReply {
  readonly text: string;
  readonly finishReason?: string;
  /** The whole response of a server, for scorers that read more than the text. */
  readonly body?: unknown;
}

/** The model under evaluation, wherever it runs. */
export type ChatModel = (messages: readonly EvaluationMessage[], signal?: AbortSignal) => Promise<ChatReply>;
