import { setTimeout as wait } from 'node:timers/promises';
import {
  type ChatEvent,
  type ChatMessage,
  type ChatModel,
  type ChatOptions,
  ContextLengthError,
} from '../src/index.js';

export const routing = { psychology: 0.4, mental_health: 0.3, bias_detection: 0.1, general_therapeutic: 0.2 };

/** What the fake does with one request. */
export interface FakeBehaviour {
  /** Pieces it says, one by one. */
  pieces?: readonly string[];
  /** Awaited before the first piece, so that a test decides how long a reply takes. */
  hold?: Promise<void>;
  /** Milliseconds before each piece. */
  pauseMs?: number;
  /** Most messages that fit; more throw a `ContextLengthError`. */
  room?: number;
  /** Thrown after the pieces. */
  failure?: Error;
  finishReason?: 'stop' | 'length';
}

export interface FakeChatModel extends ChatModel {
  /** Every call, in order. */
  readonly calls: { messages: ChatMessage[]; options: ChatOptions }[];
  /** Calls whose generator has ended, however it ended. */
  ended: number;
  /** Calls that saw their signal abort. */
  aborted: number;
  /** The most calls that ran at once. */
  mostAtOnce: number;
}

/** A model that says what it is told, for tests without tensors. */
export function fakeChatModel(behaviour: FakeBehaviour = {}, id = 'fake'): FakeChatModel {
  const pieces = behaviour.pieces ?? ['It makes ', 'sense. ', 'Rest ', 'helps.'];
  let running = 0;
  const model: FakeChatModel = {
    id,
    contextLength: 512,
    calls: [],
    ended: 0,
    aborted: 0,
    mostAtOnce: 0,
    async *chat(messages, options, signal): AsyncGenerator<ChatEvent> {
      model.calls.push({ messages, options });
      model.mostAtOnce = Math.max(model.mostAtOnce, ++running);
      try {
        if (messages.length > (behaviour.room ?? 99))
          throw new ContextLengthError(messages.length, behaviour.room ?? 99);
        await behaviour.hold;
        for (const text of pieces) {
          await wait(behaviour.pauseMs ?? 0, undefined, { signal });
          yield { type: 'text', text };
        }
        if (behaviour.failure !== undefined) throw behaviour.failure;
        yield {
          type: 'done',
          finishReason: behaviour.finishReason ?? 'stop',
          usage: { promptTokens: 11, completionTokens: pieces.length },
          routing,
        };
      } finally {
        running--;
        model.ended++;
        if (signal.aborted) model.aborted++;
      }
    },
  };
  return model;
}
