import type { ReplyReport, ServerApp } from '../src/index.js';

/** A completion's body, as tests read it. */
export interface Completion {
  id: string;
  object: string;
  created: number;
  model: string;
  choices: {
    index: number;
    message: { role: string; content: string; refusal: null };
    logprobs: null;
    finish_reason: string;
  }[];
  usage: { prompt_tokens: number; completion_tokens: number; total_tokens: number };
  tmoe: ReplyReport;
}

/** One chunk of a stream, as tests read it. */
export interface Chunk {
  id?: string;
  object?: string;
  created?: number;
  model?: string;
  choices?: { index: number; delta: { role?: string; content?: string }; finish_reason: string | null }[];
  usage?: { prompt_tokens: number; completion_tokens: number; total_tokens: number } | null;
  tmoe?: ReplyReport;
  error?: { message: string; type: string; param: string | null; code: string | null };
}

export const hello = [{ role: 'user', content: 'How do habits form?' }];

/** Posts a chat request; `body` may be any JSON value or, as text, something broken. */
export async function post(
  app: ServerApp,
  body: unknown,
  { headers = {}, tenant, signal }: { headers?: Record<string, string>; tenant?: string; signal?: AbortSignal } = {},
): Promise<Response> {
  return app.request(
    '/v1/chat/completions',
    {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: typeof body === 'string' ? body : JSON.stringify(body),
      signal,
    },
    { tenant },
  );
}

/** Posts a chat request that must succeed. */
export async function ask(app: ServerApp, body: object, more?: Parameters<typeof post>[2]): Promise<Completion> {
  const response = await post(app, { messages: hello, ...body }, more);
  if (response.status !== 200) throw new Error(`status ${response.status}: ${await response.text()}`);
  return (await response.json()) as Completion;
}

/** The `data` of every event of a streamed response. */
export async function eventsOf(response: Response): Promise<string[]> {
  const text = await response.text();
  return text
    .split('\n\n')
    .filter((part) => part !== '')
    .map((part) => part.replace(/^data: /, ''));
}

/** The chunks of a streamed response, without the closing mark. */
export async function chunksOf(response: Response): Promise<Chunk[]> {
  return (await eventsOf(response)).filter((data) => data !== '[DONE]').map((data) => JSON.parse(data) as Chunk);
}

/** All text of a stream. */
export function textOf(chunks: readonly Chunk[]): string {
  return chunks.map((chunk) => chunk.choices?.[0]?.delta.content ?? '').join('');
}

/** The error of a refused request. */
export async function refusalOf(response: Response): Promise<NonNullable<Chunk['error']>> {
  return ((await response.json()) as { error: NonNullable<Chunk['error']> }).error;
}
