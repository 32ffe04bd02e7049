import type { MiddlewareHandler } from 'hono';
import { cors } from 'hono/cors';
import { ApiError } from './api-error.js';

const local = /^https?:\/\/(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/;

/**
 * CORS for pages of other origins. A page whose origin is not allowed is refused with 403 before anything runs: without
 * that, any web page could make the reader's browser spend this machine's time, even if it could not read the answer.
 *
 * @param allowed origins such as `https://app.example`, or `*` for all; absent allows pages of this machine.
 */
export function crossOrigin(allowed: readonly string[] | undefined): MiddlewareHandler {
  const accepts = (origin: string) =>
    allowed === undefined ? local.test(origin) : allowed.includes('*') || allowed.includes(origin);
  const answer = cors({
    origin: (origin) => (accepts(origin) ? origin : null),
    allowMethods: ['GET', 'POST', 'OPTIONS'],
    exposeHeaders: ['x-request-id', 'retry-after'],
    maxAge: 600,
  });
  return async (context, next) => {
    const origin = context.req.header('origin');
    if (origin !== undefined && !accepts(origin) && !isOwn(origin, context.req.header('host'))) {
      throw new ApiError(403, `Pages of ${shown(origin)} may not call this server; allow the origin in corsOrigins.`, {
        code: 'origin_not_allowed',
      });
    }
    return answer(context, next);
  };
}

function isOwn(origin: string, host: string | undefined): boolean {
  return host !== undefined && URL.canParse(origin) && new URL(origin).host === host;
}

function shown(origin: string): string {
  return origin.length <= 100 && /^[\w.:/[\]-]+$/.test(origin) ? origin : 'this origin';
}
