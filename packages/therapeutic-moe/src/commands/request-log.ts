import type { Logger } from '@therapeutic-moe/server';

/**
 * The server's lines on standard error: failures always, and one line per request where they are asked for. A request is
 * shown by its route's pattern, so that nothing a person wrote can appear.
 */
export function requestLog({ requests }: { requests: boolean }): Logger {
  return {
    info: ({ method, route, status, ms }) => {
      if (requests) console.error(`${method} ${route} ${status} ${ms} ms`);
    },
    error: ({ failure, requestId, frames }, message) => {
      const where = Array.isArray(frames) && frames.length > 0 ? ` ${frames[0]}` : '';
      console.error(`${message}: ${failure}${where} (x-request-id ${requestId})`);
    },
  };
}
