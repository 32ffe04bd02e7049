import type { ChatModel } from './chat-model.js';

/** Where a model is served and how it is asked. */
export interface OpenAiModelOptions {
  /** Up to and including `/v1`. */
  readonly baseUrl: string;
  readonly model: string;
  readonly apiKey?: string;
  /** Default 0, so that a run can be repeated. */
  readonly temperature?: number;
  readonly maxTokens?: number;
  readonly seed?: number;
  /** Milliseconds for one reply. Default two minutes. */
  readonly timeoutMs?: number;
  /** Replaces the global `fetch`, for tests and proxies. */
  readonly fetch?: typeof globalThis.fetch;
}

interface Completion {
  readonly choices?: readonly {
    readonly message?: { readonly content?: string | null };
    readonly finish_reason?: string | null;
  }[];
  readonly error?: { readonly message?: string };
}

/**
 * A chat model behind any server that speaks OpenAI's chat completions.
 *
 * @throws from the model: on an HTTP error (with the server's own message), a time-out, or a body without `choices[0].message.content`.
 */
export function openAiModel(options: OpenAiModelOptions): ChatModel {
  const {
    baseUrl,
    model,
    apiKey,
    temperature = 0,
    maxTokens,
    seed,
    timeoutMs = 120_000,
    fetch = globalThis.fetch,
  } = options;
  const url = `${checkedUrl(baseUrl)}/chat/completions`;
  const headers = {
    'content-type': 'application/json',
    ...(apiKey !== undefined && { authorization: `Bearer ${apiKey}` }),
  };
  return async (messages, signal) => {
    const body = JSON.stringify({ model, messages, temperature, max_tokens: maxTokens, seed });
    const timeout = AbortSignal.timeout(timeoutMs);
    const response = await reach(
      url,
      () =>
        fetch(url, { method: 'POST', headers, body, signal: signal ? AbortSignal.any([signal, timeout]) : timeout }),
      signal,
    );
    const completion = (await response.json().catch(() => undefined)) as Completion | undefined;
    if (!response.ok)
      throw new Error(
        `openAiModel: ${url} answered ${response.status}: ${completion?.error?.message ?? 'no error message'}`,
      );
    const choice = completion?.choices?.[0];
    const text = choice?.message?.content;
    if (typeof text !== 'string')
      throw new Error(
        `openAiModel: ${url} answered without choices[0].message.content; is it a chat completions endpoint?`,
      );
    return { text, ...(choice?.finish_reason && { finishReason: choice.finish_reason }), body: completion };
  };
}

function checkedUrl(baseUrl: string): string {
  if (!URL.canParse(baseUrl) || !/^https?:$/.test(new URL(baseUrl).protocol)) {
    throw new Error(
      `openAiModel: baseUrl must be an http or https URL such as http://127.0.0.1:8787/v1, got ${JSON.stringify(baseUrl)}.`,
    );
  }
  return baseUrl.replace(/\/+$/, '');
}

async function reach(url: string, request: () => Promise<Response>, signal?: AbortSignal): Promise<Response> {
  try {
    return await request();
  } catch (cause) {
    signal?.throwIfAborted();
    // fetch says only "fetch failed"; why stands in its cause
    const { code } = ((cause as Error).cause ?? {}) as { code?: string };
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`openAiModel: ${url} could not be reached: ${why}${code ? ` (${code})` : ''}`, { cause });
  }
}
