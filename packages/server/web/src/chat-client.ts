import { readServerEvents } from './server-events.js';

export interface Message {
  role: 'user' | 'assistant';
  content: string;
}

export interface Resource {
  name: string;
  contact: string;
  phone?: string;
  url: string;
}

/** The `tmoe` field of a completion. */
export interface ReplyReport {
  cache: 'hit' | 'miss' | 'bypass';
  safety: { action: string; emergency?: string; resources?: Resource[] };
  routing: Record<string, number>;
  latencyMs: number;
  tokensPerSecond?: number;
}

export interface ReplyEnd {
  report?: ReplyReport;
  completionTokens?: number;
  finishReason?: string;
}

export interface ReplyRequest {
  model: string;
  messages: readonly Message[];
  temperature: number;
  maxTokens: number;
  seed?: number;
  apiKey: string;
}

/** A refusal of the server, with OpenAI's code where it gave one. */
export class ServerRefusal extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly code: string | null,
  ) {
    super(message);
  }
}

interface Chunk {
  error?: { message: string; code: string | null };
  choices?: { delta?: { content?: string }; finish_reason?: string | null }[];
  usage?: { completion_tokens: number } | null;
  tmoe?: ReplyReport;
}

/** Asks for a reply and hands over its text as it comes. */
export async function streamReply(
  request: ReplyRequest,
  onText: (text: string) => void,
  signal: AbortSignal,
): Promise<ReplyEnd> {
  const response = await fetch('/v1/chat/completions', {
    method: 'POST',
    headers: headers(request.apiKey),
    body: JSON.stringify({
      model: request.model || undefined,
      messages: request.messages,
      temperature: request.temperature,
      max_tokens: request.maxTokens,
      seed: request.seed,
      stream: true,
      stream_options: { include_usage: true },
    }),
    signal,
  });
  if (!response.ok || response.body === null) throw await refusalOf(response);
  const end: ReplyEnd = {};
  for await (const data of readServerEvents(response.body)) {
    if (data === '[DONE]') break;
    const chunk = JSON.parse(data) as Chunk;
    if (chunk.error) throw new ServerRefusal(chunk.error.message, 500, chunk.error.code);
    const choice = chunk.choices?.[0];
    if (choice?.delta?.content) onText(choice.delta.content);
    if (choice?.finish_reason) end.finishReason = choice.finish_reason;
    if (chunk.tmoe) end.report = chunk.tmoe;
    if (chunk.usage) end.completionTokens = chunk.usage.completion_tokens;
  }
  return end;
}

/** The models on offer. */
export async function listModels(apiKey: string): Promise<string[]> {
  const response = await fetch('/v1/models', { headers: headers(apiKey) });
  if (!response.ok) throw await refusalOf(response);
  const body = (await response.json()) as { data: { id: string }[] };
  return body.data.map((model) => model.id);
}

function headers(apiKey: string): Record<string, string> {
  const json = { 'content-type': 'application/json' };
  return apiKey === '' ? json : { ...json, authorization: `Bearer ${apiKey}` };
}

async function refusalOf(response: Response): Promise<ServerRefusal> {
  const body = (await response.json().catch(() => ({}))) as Chunk;
  const message = body.error?.message ?? `The server answered with status ${response.status}.`;
  return new ServerRefusal(message, response.status, body.error?.code ?? null);
}
