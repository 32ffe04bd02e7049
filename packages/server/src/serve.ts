import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createAdaptorServer } from '@hono/node-server';
import type { ServerApp } from './create-app.js';
import { isLoopback } from './loopback.js';

/** Where to listen, and how to stop. */
export interface ServeOptions {
  /** Address to listen on. Default `127.0.0.1`: this machine only. */
  host?: string;
  /** Port; 0 picks a free one. Default 8787. */
  port?: number;
  /**
   * The tenant of callers who show no API key and no tenant header. The default is `local` on a loopback address,
   * where one person talks to the server, and none elsewhere: without a tenant nothing is cached. A request that came
   * through a proxy (it carries `Forwarded` or `X-Forwarded-For`) never gets this tenant.
   */
  tenant?: string;
  /**
   * Names that a Host header may carry beside `localhost`, `127.0.0.1` and `[::1]`; a port is not compared. The default
   * is none on a loopback address, so that no other site can reach the server by letting its own name point at this
   * machine, and any name elsewhere. A proxy that keeps the visitor's Host header needs its name here.
   */
  allowedHosts?: readonly string[];
  /** Milliseconds that running replies get to finish when the server closes. Default 10,000. */
  graceMs?: number;
}

/** A server that listens. */
export interface RunningServer {
  /** Such as `http://127.0.0.1:8787`. */
  readonly url: string;
  readonly port: number;
  /**
   * Stops accepting connections, lets running replies finish for `graceMs`, then cuts the rest, which aborts their
   * models. Resolves when every connection is closed; calling it again returns the same promise.
   */
  close(): Promise<void>;
}

/**
 * Listens with an app made by `createApp`.
 *
 * @returns once the port answers.
 * @throws Error when the address cannot be listened on, with the address and the way out.
 */
export async function serve(app: ServerApp, options: ServeOptions = {}): Promise<RunningServer> {
  const host = options.host ?? '127.0.0.1';
  const port = options.port ?? 8787;
  const tenant = options.tenant ?? (isLoopback(host) ? 'local' : undefined);
  const allowedHosts = options.allowedHosts ?? (isLoopback(host) ? [host] : undefined);
  const server = createAdaptorServer({
    fetch: (request, env) => app.fetch(request, { ...env, tenant, allowedHosts }),
  }) as Server;
  await listen(server, host, port);
  const bound = (server.address() as AddressInfo).port;
  let closing: Promise<void> | undefined;
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${bound}`,
    port: bound,
    close: () => (closing ??= closeServer(server, options.graceMs ?? 10_000)),
  };
}

/** Closes the server once on SIGINT or SIGTERM, then lets the process end; a second signal ends it at once. */
export function closeOnSignals(running: RunningServer, afterwards: () => void | Promise<void> = () => {}): void {
  let asked = false;
  const stop = () => {
    if (asked) return process.exit(130);
    asked = true;
    void running
      .close()
      .then(afterwards)
      .finally(() => process.exit(0));
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const way = cause.code === 'EADDRINUSE' ? 'another program uses this port; choose another with PORT' : cause.code;
      reject(new Error(`serve: cannot listen on ${host}:${port} (${way}).`, { cause }));
    });
    server.listen(port, host, () => resolve());
  });
}

function closeServer(server: Server, graceMs: number): Promise<void> {
  return new Promise((resolve) => {
    const cut = setTimeout(() => server.closeAllConnections(), graceMs);
    server.close(() => {
      clearTimeout(cut);
      resolve();
    });
    server.closeIdleConnections();
  });
}
