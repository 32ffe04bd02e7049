import { createHash, timingSafeEqual } from 'node:crypto';
import type { MiddlewareHandler } from 'hono';
import { ApiError } from './api-error.js';
import type { AppEnvironment } from './app-environment.js';

/** A key that may call `/v1`. */
export interface ApiKey {
  /** Who holds it; also the tenant whose cached answers it may read. Appears in logs. */
  id: string;
  /** The secret that clients send as `Authorization: Bearer …`. */
  key: string;
}

/** Checks a request's Authorization header and says who is calling. */
export type Authenticate = (authorization: string | undefined) => string;

/**
 * Prepares the check of API keys. Keys are compared as SHA-256 digests in constant time, every key every time, so
 * response times say nothing about them.
 *
 * @throws Error when a key or id is empty or twice in the list.
 */
export function authenticator(keys: readonly ApiKey[]): Authenticate {
  for (const { id, key } of keys) {
    if (id === '' || key === '') throw new Error('createApp: apiKeys: id and key must not be empty.');
  }
  if (new Set(keys.map(({ id }) => id)).size < keys.length || new Set(keys.map(({ key }) => key)).size < keys.length) {
    throw new Error('createApp: apiKeys: every id and every key must be there once.');
  }
  const known = keys.map(({ id, key }) => ({ id, digest: digest(key) }));
  return (authorization) => {
    const sent = /^Bearer\s+(\S+)\s*$/i.exec(authorization ?? '')?.[1];
    if (sent === undefined) {
      throw new ApiError(401, 'This server needs an API key; send it as "Authorization: Bearer KEY".', {
        code: 'missing_api_key',
        headers: { 'www-authenticate': 'Bearer' },
      });
    }
    const candidate = digest(sent);
    let caller: string | undefined;
    for (const { id, digest: expected } of known) {
      if (timingSafeEqual(candidate, expected)) caller = id;
    }
    if (caller === undefined) {
      throw new ApiError(401, 'This API key is not known here; check it with whoever runs the server.', {
        code: 'invalid_api_key',
        headers: { 'www-authenticate': 'Bearer' },
      });
    }
    return caller;
  };
}

/** Lets only holders of a key pass and remembers who they are. */
export function requireKey(keys: readonly ApiKey[]): MiddlewareHandler<AppEnvironment> {
  const authenticate = authenticator(keys);
  return async (context, next) => {
    context.set('caller', authenticate(context.req.header('authorization')));
    await next();
  };
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
