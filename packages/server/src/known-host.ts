import type { MiddlewareHandler } from 'hono';
import { ApiError } from './api-error.js';
import type { AppEnvironment } from './app-environment.js';

/** How a browser on this machine names it. */
const ownNames = ['localhost', '127.0.0.1', '[::1]'];

/**
 * Refuses requests whose Host header is neither this machine nor a name in `allowedHosts`. A page of another site can
 * let its own name point at 127.0.0.1 (DNS rebinding); its requests then look as if the chat page had sent them, and
 * only the name in Host tells them apart. Without `allowedHosts` in the environment every name passes.
 */
export const knownHost: MiddlewareHandler<AppEnvironment> = async (context, next) => {
  const allowed = context.env?.allowedHosts;
  if (allowed !== undefined) {
    const name = hostName(context.req.header('host'));
    if (name === undefined || ![...ownNames, ...allowed].some((each) => each.toLowerCase() === name)) {
      throw new ApiError(403, 'This server does not answer under this host name; allow the name in allowedHosts.', {
        code: 'host_not_allowed',
      });
    }
  }
  await next();
};

/** The name in a Host header, in lower case and without its port. */
function hostName(header: string | undefined): string | undefined {
  return /^(\[[\da-f:.]+\]|[^:[\]]+)(?::\d+)?$/i.exec(header ?? '')?.[1]?.toLowerCase();
}
