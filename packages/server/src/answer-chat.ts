import { randomUUID } from 'node:crypto';
import type { Context } from 'hono';
import { ApiError, toApiError } from './api-error.js';
import type { AppEnvironment } from './app-environment.js';
import type { ChatModel, ChatOptions } from './chat-model.js';
import { type ChatRequest, parseChatRequest } from './chat-request.js';
import { type CompletionHead, completionBody, completionEvents, event } from './completion.js';
import { eventStream } from './event-stream.js';
import { describeFailure, type Logger } from './logger.js';
import { drain, makeReply, type Question, type ReplyParts } from './make-reply.js';
import { findModel } from './model-list.js';
import type { ReplyEnd } from './reply-report.js';
import type { ServerMetrics } from './server-metrics.js';
import { tenantOf } from './tenant.js';

/** What the chat route is made with. */
export interface ChatRoute {
  models: ReadonlyMap<string, ChatModel>;
  parts: ReplyParts;
  metrics: ServerMetrics;
  logger: Logger;
  tenantHeader?: string;
  defaults?: Partial<ChatOptions>;
}

const ordinaryDefaults = { temperature: 0.7, topP: 0.95, maxTokens: 256 };

/** Answers `POST /v1/chat/completions`, whole or as server-sent events. */
export async function answerChat(context: Context<AppEnvironment>, route: ChatRoute): Promise<Response> {
  const request = parseChatRequest(await readJson(context));
  const question = toQuestion(context, request, route);
  const head = {
    id: `chatcmpl-${randomUUID()}`,
    created: Math.floor(Date.now() / 1000),
    model: question.model.id,
  };
  const abandoned = new AbortController();
  const signal = AbortSignal.any([context.req.raw.signal, abandoned.signal]);
  const reply = makeReply(question, route.parts, signal);
  const finished = (end: ReplyEnd) => record(context, route, question, end);

  try {
    if (!request.stream) {
      const { text, end } = await drain(reply);
      finished(end);
      return context.json(completionBody(head, text, end));
    }
    // The first text is awaited before the response starts, so that refusals still have a real status.
    const first = await reply.next();
    const events = streamEvents(context, route, { head, request, signal, finished, reply: resume(first, reply) });
    const body = eventStream(events, () => abandoned.abort(goneAway()));
    return context.body(body, 200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache, no-transform',
      'x-accel-buffering': 'no',
    });
  } catch (error) {
    if (!signal.aborted) throw error;
    route.metrics.aborted();
    throw goneAway();
  }
}

async function readJson(context: Context): Promise<unknown> {
  const text = await context.req.text();
  try {
    return JSON.parse(text);
  } catch (cause) {
    // The parser's own message would repeat what was written, so it stays out of the answer.
    throw new ApiError(
      400,
      `The body must be JSON, got ${text === '' ? 'nothing' : 'something that does not parse'}.`,
      {
        code: 'invalid_json',
        cause,
      },
    );
  }
}

function toQuestion(context: Context<AppEnvironment>, request: ChatRequest, route: ChatRoute): Question {
  const model = findModel(route.models, request.model);
  const noStore = /\bno-store\b/i.test(context.req.header('cache-control') ?? '');
  const tenant = tenantOf((name) => context.req.header(name), {
    caller: context.get('caller'),
    tenantHeader: route.tenantHeader,
    fixed: context.env?.tenant,
  });
  return {
    model,
    messages: request.messages,
    options: chatOptions(request, model, { ...ordinaryDefaults, ...route.defaults }),
    tenant: noStore ? undefined : tenant,
    cacheSalt: request.cacheSalt,
    receivedAt: context.get('receivedAt'),
  };
}

function chatOptions(
  request: ChatRequest,
  { contextLength }: ChatModel,
  defaults: Partial<ChatOptions> & typeof ordinaryDefaults,
): ChatOptions {
  const { maxTokens } = request;
  if (maxTokens !== undefined && maxTokens > contextLength) {
    throw new ApiError(
      400,
      `max_tokens: must be at most ${contextLength}, the context length of this model, got ${maxTokens}.`,
      { param: 'max_tokens' },
    );
  }
  return {
    temperature: request.temperature ?? defaults.temperature,
    topP: request.topP ?? defaults.topP,
    topK: request.topK ?? defaults.topK,
    repetitionPenalty: request.repetitionPenalty ?? defaults.repetitionPenalty,
    seed: request.seed,
    maxTokens: maxTokens ?? Math.min(defaults.maxTokens, contextLength),
    stop: request.stop,
  };
}

/** A generator whose first result has been taken already, whole again. */
async function* resume(
  first: IteratorResult<string, ReplyEnd>,
  rest: AsyncGenerator<string, ReplyEnd>,
): AsyncGenerator<string, ReplyEnd> {
  if (first.done) return first.value;
  try {
    yield first.value;
    return yield* rest;
  } finally {
    await rest.return(undefined as never);
  }
}

interface Stream {
  head: CompletionHead;
  request: ChatRequest;
  signal: AbortSignal;
  reply: AsyncGenerator<string, ReplyEnd>;
  finished(end: ReplyEnd): void;
}

/** The events of a streamed reply; a failure on the way becomes an error event, as OpenAI's clients expect. */
function streamEvents(context: Context<AppEnvironment>, route: ChatRoute, stream: Stream): AsyncGenerator<string> {
  let ended = () => {};
  context.set('streamed', new Promise<void>((resolve) => (ended = resolve)));
  return (async function* () {
    let complete = false;
    try {
      stream.finished(yield* completionEvents(stream.head, stream.reply, stream.request.includeUsage));
      complete = true;
    } catch (error) {
      complete = true;
      if (stream.signal.aborted) return countAbort(context, route);
      route.logger.error({ requestId: context.get('requestId'), ...describeFailure(error) }, 'stream failed');
      context.get('facts').failed = true;
      yield event(toApiError(error).body());
    } finally {
      if (!complete) {
        await stream.reply.return(undefined as never);
        countAbort(context, route);
      }
      ended();
    }
  })();
}

function countAbort(context: Context<AppEnvironment>, route: ChatRoute): void {
  context.get('facts').aborted = true;
  route.metrics.aborted();
}

function record(context: Context<AppEnvironment>, { metrics }: ChatRoute, { model }: Question, end: ReplyEnd): void {
  const { report, usage, generationSeconds } = end;
  metrics.reply({
    model: model.id,
    cache: report.cache,
    safetyAction: report.safety.action,
    ...usage,
    generationSeconds,
    routing: report.routing,
  });
  Object.assign(context.get('facts'), {
    model: model.id,
    caller: context.get('caller'),
    cache: report.cache,
    safety: report.safety.action,
    ...usage,
  });
}

function goneAway(): ApiError {
  return new ApiError(499, 'The client closed the connection before the reply was complete.', {
    code: 'client_closed',
  });
}
