import type { AdmissionQueue } from './admission-queue.js';
import type { ChatEvent, ChatMessage, ChatModel, ChatOptions } from './chat-model.js';

/** What a model's own work on one reply came to. */
export interface Generated {
  finishReason: 'stop' | 'length';
  usage: { promptTokens: number; completionTokens: number };
  routing: Record<string, number>;
  /** Seconds from admission to the last event. */
  seconds: number;
}

/**
 * Waits for a place in the queue, then streams the model's text. The place is given back when the model has really
 * ended: after its last event, or after it has unwound from an abort or an error.
 *
 * @throws ApiError 429 when the queue is full; the signal's reason when it aborts; whatever the model throws.
 */
export async function* generateReply(
  model: ChatModel,
  messages: ChatMessage[],
  options: ChatOptions,
  queue: AdmissionQueue,
  signal: AbortSignal,
): AsyncGenerator<string, Generated> {
  const leave = await queue.enter(signal);
  const start = performance.now();
  let end: Extract<ChatEvent, { type: 'done' }> | undefined;
  try {
    for await (const event of model.chat(messages, options, signal)) {
      signal.throwIfAborted();
      if (event.type === 'done') end = event;
      else if (event.text !== '') yield event.text;
    }
    signal.throwIfAborted();
  } finally {
    leave();
  }
  if (end === undefined) throw new Error(`ChatModel ${model.id}: chat() must end with a "done" event, got none.`);
  const { finishReason, usage, routing } = end;
  return { finishReason, usage, routing, seconds: (performance.now() - start) / 1000 };
}
