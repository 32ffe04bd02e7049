export type { AdmissionOptions } from './admission-queue.js';
export { ApiError, type ApiErrorBody } from './api-error.js';
export type { AppEnvironment } from './app-environment.js';
export type { ApiKey } from './authentication.js';
export type { CachedReply } from './cached-reply.js';
export {
  type ChatEvent,
  type ChatMessage,
  type ChatModel,
  type ChatOptions,
  ContextLengthError,
} from './chat-model.js';
export { type AppOptions, createApp, type ServerApp } from './create-app.js';
export type { Logger } from './logger.js';
export { isLoopback } from './loopback.js';
export type { ReplyReport, ReportedResource } from './reply-report.js';
export { SentenceBuffer } from './sentence-buffer.js';
export { closeOnSignals, type RunningServer, type ServeOptions, serve } from './serve.js';
