import { useCallback, useRef, useState } from 'preact/hooks';
import { type Message, type ReplyEnd, ServerRefusal, streamReply } from './chat-client.js';
import type { Settings } from './settings.js';

/** One question and its reply, as the page shows them. */
export interface Exchange {
  id: number;
  question: string;
  reply: string;
  state: 'waiting' | 'writing' | 'done' | 'stopped' | 'failed';
  end?: ReplyEnd;
  failure?: string;
  /** Older exchanges that no longer fitted into the model's context. */
  leftOut: number;
}

export interface Conversation {
  exchanges: readonly Exchange[];
  busy: boolean;
  send(question: string): void;
  stop(): void;
  clear(): void;
}

/** Owns the conversation: sends questions, collects the streamed replies, stops and clears. */
export function useConversation(model: string, settings: Settings, apiKey: string): Conversation {
  const [exchanges, setExchanges] = useState<readonly Exchange[]>([]);
  const running = useRef<AbortController | null>(null);
  const nextId = useRef(1);
  const busy = exchanges.some(({ state }) => state === 'waiting' || state === 'writing');

  const send = useCallback(
    (question: string) => {
      const id = nextId.current++;
      const past = exchanges.filter(({ state }) => state === 'done' || state === 'stopped');
      const change = (to: (exchange: Exchange) => Partial<Exchange>) =>
        setExchanges((all) => all.map((one) => (one.id === id ? { ...one, ...to(one) } : one)));
      const controller = new AbortController();
      running.current = controller;
      setExchanges((all) => [...all, { id, question, reply: '', state: 'waiting', leftOut: 0 }]);

      const ask = async (leftOut: number): Promise<ReplyEnd> => {
        try {
          const { temperature, maxTokens, seed } = settings;
          return await streamReply(
            { model, messages: messagesOf(past.slice(leftOut), question), temperature, maxTokens, seed, apiKey },
            (text) => change(({ reply }) => ({ reply: reply + text, state: 'writing' })),
            controller.signal,
          );
        } catch (error) {
          const tooLong = error instanceof ServerRefusal && error.code === 'context_length_exceeded';
          if (!tooLong || leftOut >= past.length) throw error;
          change(() => ({ leftOut: leftOut + 1 }));
          return ask(leftOut + 1);
        }
      };

      ask(0)
        .then((end) => change(() => ({ end, state: 'done' })))
        .catch((error: unknown) =>
          change(() =>
            controller.signal.aborted ? { state: 'stopped' } : { state: 'failed', failure: wordsOf(error) },
          ),
        );
    },
    [exchanges, model, settings, apiKey],
  );

  const stop = useCallback(() => running.current?.abort(), []);
  const clear = useCallback(() => {
    running.current?.abort();
    setExchanges([]);
  }, []);
  return { exchanges, busy, send, stop, clear };
}

function messagesOf(past: readonly Exchange[], question: string): Message[] {
  const turns = past.flatMap((one): Message[] => [
    { role: 'user', content: one.question },
    ...(one.reply === '' ? [] : [{ role: 'assistant' as const, content: one.reply }]),
  ]);
  return [...turns, { role: 'user', content: question }];
}

function wordsOf(error: unknown): string {
  if (error instanceof ServerRefusal) return error.message;
  return 'The connection to the server was lost. Check that it is running, then send the message again.';
}
