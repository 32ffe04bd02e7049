import type { CacheRequest } from '@therapeutic-moe/serve-cache';
import type { ChatEvent } from './chat-model.js';
import type { Question } from './make-reply.js';
import type { ReplyReport } from './reply-report.js';

/** What is stored of a reply: `new ResponseCache<CachedReply>(…)` is the cache that `createApp` takes. */
export interface CachedReply extends Omit<Extract<ChatEvent, { type: 'done' }>, 'type'> {
  text: string;
  /** Set when the output check withheld a part; such a reply is handed to who waits for it and never stored. */
  withheld?: Partial<ReplyReport['safety']>;
}

/** A question as the cache sees it: everything that decides the answer, and whose it is. */
export function cacheRequestOf(question: Question, policyVersion: string, cacheable: boolean): CacheRequest {
  const { model, messages, options, tenant, cacheSalt } = question;
  return {
    tenant,
    cacheable,
    conversationSalt: cacheSalt,
    model: `${model.id}@${model.revision ?? ''}`,
    adapter: model.adapter ?? null,
    template: model.template ?? '',
    messages,
    sampling: { ...options },
    policyVersion,
  };
}
