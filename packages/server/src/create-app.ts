import type { SafetyPolicy } from '@therapeutic-moe/safety';
import type { ResponseCache } from '@therapeutic-moe/serve-cache';
import { type Context, Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { requestId } from 'hono/request-id';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import { type AdmissionOptions, AdmissionQueue } from './admission-queue.js';
import { answerChat } from './answer-chat.js';
import { ApiError, toApiError } from './api-error.js';
import type { AppEnvironment } from './app-environment.js';
import { type ApiKey, requireKey } from './authentication.js';
import type { CachedReply } from './cached-reply.js';
import type { ChatModel, ChatOptions } from './chat-model.js';
import { crossOrigin } from './cross-origin.js';
import { knownHost } from './known-host.js';
import { describeFailure, type Logger, silentLogger } from './logger.js';
import type { ReplyParts } from './make-reply.js';
import { findModel, modelBody, modelsByName } from './model-list.js';
import { observe } from './observe.js';
import { securityHeaders } from './security-headers.js';
import { servePage } from './serve-page.js';
import { ServerMetrics } from './server-metrics.js';
import { readWebPage } from './web-page.js';

/** What an app is made of. Models, cache and policy are passed in; the app owns its queue and its metrics. */
export interface AppOptions {
  /** The models on offer; the first answers requests that name none. */
  models: readonly ChatModel[];
  /** Answers given before; absent, every reply is written anew. */
  cache?: ResponseCache<CachedReply>;
  /** What is watched for, and what is answered then. */
  policy: SafetyPolicy;
  /** Who may call `/v1`; absent or empty leaves it open. */
  apiKeys?: readonly ApiKey[];
  /** A header that a trusted proxy sets to the caller's tenant; absent, no header is believed. */
  tenantHeader?: string;
  /** Where one line per request goes; default nowhere. It never receives text of a conversation. */
  logger?: Logger;
  /** How many replies are made at once and how many requests wait. */
  queue?: AdmissionOptions;
  /** Sampling where a request says nothing. Default: temperature 0.7, topP 0.95, maxTokens 256. */
  defaults?: Partial<Pick<ChatOptions, 'temperature' | 'topP' | 'topK' | 'repetitionPenalty' | 'maxTokens'>>;
  /** Origins whose pages may call the API (`*`: all). Default: pages of this machine. */
  corsOrigins?: readonly string[];
  /** Largest request body in bytes. Default 1 MiB. */
  maxBodyBytes?: number;
  /** The folder of a built chat page; default the one this package was built with. */
  webDirectory?: string;
}

/** A hono app: `app.fetch(request)` or `app.request('/health')` answer without a port. */
export type ServerApp = Hono<AppEnvironment>;

/**
 * Makes the server's app: an OpenAI-compatible API behind a safety policy, a response cache and an admission queue,
 * with metrics and the chat page.
 *
 * @throws Error when there is no model, two share a name, or a limit is impossible.
 */
export function createApp(options: AppOptions): ServerApp {
  const models = modelsByName(options.models);
  const queue = new AdmissionQueue(options.queue);
  const metrics = new ServerMetrics(queue);
  const logger = options.logger ?? silentLogger;
  const parts: ReplyParts = {
    policy: options.policy,
    cache: options.cache,
    queue,
  };
  const app: ServerApp = new Hono<AppEnvironment>();

  app.use(observe(metrics, logger));
  app.use(requestId({ limitLength: 64 }));
  app.use(securityHeaders);
  app.use(knownHost);
  app.use('/v1/*', crossOrigin(options.corsOrigins));
  if (options.apiKeys !== undefined && options.apiKeys.length > 0) {
    app.use('/v1/*', requireKey(options.apiKeys));
  }

  app.get('/health', (context) =>
    context.json({
      status: 'ok',
      models: [...models.keys()],
      queue: { running: queue.running, waiting: queue.waiting },
    }),
  );
  app.get('/metrics', async (context) =>
    context.body(await metrics.registry.metrics(), 200, { 'content-type': metrics.registry.contentType }),
  );
  app.get('/v1/models', (context) => context.json({ object: 'list', data: [...models.values()].map(modelBody) }));
  app.get('/v1/models/:id{.+}', (context) => context.json(modelBody(findModel(models, context.req.param('id')))));
  const maxSize = options.maxBodyBytes ?? 1 << 20;
  app.post('/v1/chat/completions', bodyLimit({ maxSize, onError: () => refuseLargeBody(maxSize) }), (context) =>
    answerChat(context, { ...options, models, parts, metrics, logger }),
  );
  app.all('/v1/chat/completions', () => {
    throw new ApiError(405, 'Use POST for /v1/chat/completions.', { headers: { allow: 'POST' } });
  });
  servePage(app, () => readWebPage(options.webDirectory));
  app.notFound((context) =>
    refuse(
      context,
      new ApiError(404, 'There is nothing at this address; the API is under /v1.', { code: 'not_found' }),
    ),
  );
  app.onError((error, context) => {
    const refusal = toApiError(error);
    if (refusal.status >= 500 && !context.req.raw.signal.aborted) {
      logger.error({ requestId: context.get('requestId'), ...describeFailure(error) }, 'request failed');
    }
    return refuse(context, refusal);
  });
  return app;
}

function refuse(context: Context, refusal: ApiError): Response {
  return context.json(refusal.body(), refusal.status as ContentfulStatusCode, refusal.headers);
}

function refuseLargeBody(maxSize: number): never {
  throw new ApiError(413, `The body must be at most ${maxSize} bytes; send a shorter conversation.`, {
    code: 'body_too_large',
  });
}
