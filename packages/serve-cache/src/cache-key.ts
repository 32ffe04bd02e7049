import { createHmac } from 'node:crypto';
import { type CacheKeyValue, canonicalBytes } from './canonical-bytes.js';

/** How an answer is sampled. Every field is part of the key. */
export interface CacheSampling {
  readonly temperature?: number;
  readonly seed?: number;
  readonly [field: string]: CacheKeyValue;
}

/** Everything that decides an answer, and whose it is. Two requests share an answer only if all of it is equal. */
export interface CacheKeyParts {
  /** Whose answer it is. */
  readonly tenant: string;
  /** Separates conversations of one tenant; without it equal requests of one tenant share an answer. */
  readonly conversationSalt?: string;
  /** The model and its revision, for example a hash of the weights. */
  readonly model: string;
  /** The adapter and its revision, or null. */
  readonly adapter: string | null;
  /** The chat template or its hash. */
  readonly template: string;
  /** The whole conversation, not its last turn. */
  readonly messages: readonly { readonly role: string; readonly content: string }[];
  readonly sampling: CacheSampling;
  /** Version of the safety policy the answer was given under. */
  readonly policyVersion: string;
}

/** The mark a store knows a tenant by: HMAC-SHA-256 of its name. */
export function tenantMark(secret: string | Uint8Array, tenant: string): string {
  return createHmac('sha256', secret)
    .update(canonicalBytes(['tenant', tenant]))
    .digest('hex')
    .slice(0, 32);
}

/**
 * The key of an answer: HMAC-SHA-256 under the server's secret over all of `parts`, so a key tells nothing about the prompt and cannot
 * be made by somebody without the secret.
 */
export function cacheKey(secret: string | Uint8Array, parts: CacheKeyParts): string {
  const { tenant, conversationSalt, model, adapter, template, messages, sampling, policyVersion } = parts;
  const bytes = canonicalBytes({
    format: 1,
    tenant,
    conversationSalt,
    model,
    adapter,
    template,
    messages: messages.map(({ role, content }) => [role, content]),
    sampling,
    policyVersion,
  });
  return createHmac('sha256', secret).update(bytes).digest('hex');
}
