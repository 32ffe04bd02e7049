import type { MiddlewareHandler } from 'hono';
import { matchedRoutes } from 'hono/route';
import type { AppEnvironment } from './app-environment.js';
import type { Logger } from './logger.js';
import type { ServerMetrics } from './server-metrics.js';

/** Counts and logs every request once its response, streamed or not, has ended. Paths appear as route patterns only. */
export function observe(metrics: ServerMetrics, logger: Logger): MiddlewareHandler<AppEnvironment> {
  return async (context, next) => {
    const receivedAt = performance.now();
    context.set('receivedAt', receivedAt);
    context.set('facts', {});
    await next();
    const { status } = context.res;
    const { method } = context.req;
    const pattern = matchedRoutes(context).at(-1)?.path ?? '*';
    const route = pattern.endsWith('*') ? 'unmatched' : pattern;
    const finish = () => {
      const milliseconds = performance.now() - receivedAt;
      metrics.request(route, method, status, milliseconds / 1000);
      logger.info(
        {
          requestId: context.get('requestId'),
          route,
          method,
          status,
          ms: Math.round(milliseconds),
          ...context.get('facts'),
        },
        'request',
      );
    };
    const streamed = context.get('streamed');
    if (streamed === undefined) finish();
    else void streamed.then(finish);
  };
}
