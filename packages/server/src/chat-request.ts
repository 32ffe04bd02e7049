import { z } from 'zod';
import { ApiError } from './api-error.js';
import type { ChatMessage } from './chat-model.js';

/** A chat completion request after validation; absent fields were not sent. */
export interface ChatRequest {
  model?: string;
  messages: ChatMessage[];
  stream: boolean;
  includeUsage: boolean;
  temperature?: number;
  topP?: number;
  topK?: number;
  repetitionPenalty?: number;
  seed?: number;
  maxTokens?: number;
  stop: string[];
  /** Extra text of the cache key (vLLM's `cache_salt`): equal conversations with other salts do not share answers. */
  cacheSalt?: string;
}

const noImages = 'must have type "text"; this model reads text only, so leave out images, audio and files';

const textPart = z.discriminatedUnion(
  'type',
  [
    z.object({ type: z.literal('text'), text: z.string('must be a string') }),
    z.object({ type: z.literal('refusal'), refusal: z.string('must be a string') }),
  ],
  { error: noImages },
);

const content = z.union([z.string(), z.array(textPart)], { error: 'must be a string or an array of text parts' });

const roles = ['system', 'developer', 'user', 'assistant'] as const;

const message = z
  .object(
    {
      role: z.enum(roles, { error: 'must be "system", "developer", "user" or "assistant"' }),
      content: content.nullish(),
    },
    { error: 'must be an object with role and content' },
  )
  .refine((turn) => turn.role === 'assistant' || (turn.content !== undefined && turn.content !== null), {
    path: ['content'],
    error: 'must be a string or an array of text parts; it is missing',
  });

const between = (low: number, high: number, words: string) =>
  z.number({ error: words }).min(low, { error: words }).max(high, { error: words }).nullish();

const positiveInteger = (words: string) => z.int({ error: words }).min(1, { error: words }).nullish();

const stopWords = 'must be a non-empty string or an array of at most four of them';
const stopText = z.string({ error: stopWords }).min(1, { error: stopWords });

const requestSchema = z.object(
  {
    model: z.string({ error: 'must be the name of a model; GET /v1/models lists them' }).nullish(),
    messages: z
      .array(message, { error: 'must be a non-empty array of messages' })
      .min(1, { error: 'must be a non-empty array of messages' }),
    stream: z.boolean({ error: 'must be true or false' }).nullish(),
    stream_options: z
      .object(
        { include_usage: z.boolean({ error: 'must be true or false' }).nullish() },
        { error: 'must be an object' },
      )
      .nullish(),
    temperature: between(0, 2, 'must be a number from 0 (greedy) to 2'),
    top_p: z
      .number({ error: 'must be a number above 0 and at most 1' })
      .gt(0, { error: 'must be a number above 0 and at most 1' })
      .max(1, { error: 'must be a number above 0 and at most 1' })
      .nullish(),
    top_k: positiveInteger('must be a whole number of at least 1'),
    repetition_penalty: between(0.1, 10, 'must be a number from 0.1 to 10; 1 is off'),
    seed: z.int({ error: 'must be a whole number' }).nullish(),
    max_tokens: positiveInteger('must be a whole number of at least 1'),
    max_completion_tokens: positiveInteger('must be a whole number of at least 1'),
    stop: z
      .union([stopText, z.array(stopText, { error: stopWords }).max(4, { error: stopWords })], { error: stopWords })
      .nullish(),
    n: z.literal(1, { error: 'must be 1; ask again for another reply' }).nullish(),
    tool_choice: z
      .union([z.literal('none'), z.literal('auto')], {
        error: 'must be "none" or "auto"; this model cannot call tools, so a call cannot be required',
      })
      .nullish(),
    cache_salt: z.string({ error: 'must be a string' }).max(256, { error: 'must be at most 256 characters' }).nullish(),
  },
  { error: 'the body must be a JSON object' },
);

/**
 * Validates the body of `POST /v1/chat/completions`. Unknown fields are ignored, as OpenAI's clients expect.
 *
 * @throws ApiError with status 400 that names the field, what was expected and what came.
 */
export function parseChatRequest(body: unknown): ChatRequest {
  const parsed = requestSchema.safeParse(body);
  if (!parsed.success) throw refusal(parsed.error, body);
  const fields = parsed.data;
  if (
    isPresent(fields.max_tokens) &&
    isPresent(fields.max_completion_tokens) &&
    fields.max_tokens !== fields.max_completion_tokens
  ) {
    throw new ApiError(
      400,
      `max_tokens: is ${fields.max_tokens} but max_completion_tokens is ${fields.max_completion_tokens}; send one of them.`,
      { param: 'max_tokens' },
    );
  }
  // Safety looks at what a person said; a conversation without a person's turn would reach the model unassessed.
  if (!fields.messages.some(({ role }) => role === 'user')) {
    throw new ApiError(400, 'messages: there is no user message; add what the model shall answer.', {
      param: 'messages',
    });
  }
  const stop = fields.stop ?? [];
  return {
    model: fields.model ?? undefined,
    messages: fields.messages.map(toChatMessage),
    stream: fields.stream ?? false,
    includeUsage: fields.stream_options?.include_usage ?? false,
    temperature: fields.temperature ?? undefined,
    topP: fields.top_p ?? undefined,
    topK: fields.top_k ?? undefined,
    repetitionPenalty: fields.repetition_penalty ?? undefined,
    seed: fields.seed ?? undefined,
    maxTokens: fields.max_completion_tokens ?? fields.max_tokens ?? undefined,
    stop: typeof stop === 'string' ? [stop] : stop,
    cacheSalt: fields.cache_salt ?? undefined,
  };
}

function isPresent<T>(value: T | null | undefined): value is T {
  return value !== undefined && value !== null;
}

function toChatMessage(turn: z.infer<typeof message>): ChatMessage {
  return { role: turn.role === 'developer' ? 'system' : turn.role, content: plainText(turn.content ?? '') };
}

function plainText(value: z.infer<typeof content>): string {
  if (typeof value === 'string') return value;
  return value.map((part) => (part.type === 'text' ? part.text : part.refusal)).join('');
}

/** The first fault, in words; deep faults inside a union (a content part) are preferred over the union's own. */
function refusal(error: z.ZodError, body: unknown): ApiError {
  const { path, message: words } = deepest(error.issues[0]!);
  const param = path.reduce<string>(
    (name, key) => (typeof key === 'number' ? `${name}[${key}]` : name === '' ? String(key) : `${name}.${String(key)}`),
    '',
  );
  const got = describe(
    path.reduce<unknown>((value, key) => (value as Record<PropertyKey, unknown> | undefined)?.[key], body),
  );
  return new ApiError(400, `${param === '' ? '' : `${param}: `}${words}, got ${got}.`, { param: param || undefined });
}

function deepest(issue: z.core.$ZodIssue, prefix: PropertyKey[] = []): { path: PropertyKey[]; message: string } {
  const path = [...prefix, ...issue.path];
  if (issue.code === 'invalid_union') {
    const inner = issue.errors.flat().find((candidate) => candidate.path.length > 0);
    if (inner !== undefined) return deepest(inner, path);
  }
  return { path, message: issue.message };
}

/** What came, without repeating a person's words: texts are described by their length. */
function describe(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (typeof value === 'string')
    return value.length <= 24 && /^[\w.:/-]*$/.test(value) ? `"${value}"` : `a text of ${value.length} characters`;
  if (Array.isArray(value)) return value.length === 0 ? 'an empty array' : `an array of ${value.length}`;
  if (value !== null && typeof value === 'object') return 'an object';
  return String(value);
}
