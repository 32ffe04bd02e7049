/** What hono carries through one request. */
export interface AppEnvironment {
  Bindings: {
    /** The tenant of callers without key or header, fixed by `serve`. */
    tenant?: string;
    /** Names that a Host header may carry beside this machine's own, fixed by `serve`; absent, any. */
    allowedHosts?: readonly string[];
  };
  Variables: {
    requestId: string;
    caller?: string;
    receivedAt: number;
    /** What the request's log line says beside route and status. */
    facts: Record<string, unknown>;
    /** Resolves when a streamed response has ended. */
    streamed?: Promise<void>;
  };
}
