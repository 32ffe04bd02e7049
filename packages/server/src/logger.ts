/** The part of pino's logger that the server uses; pass pino, the console or nothing. */
export interface Logger {
  /** One request answered, or the server starting and stopping. Fields never hold text of a conversation. */
  info(fields: Record<string, unknown>, message: string): void;
  /** A request that failed for a reason of ours. */
  error(fields: Record<string, unknown>, message: string): void;
}

/** Says nothing; the default. */
export const silentLogger: Logger = { info: () => {}, error: () => {} };

/** An error as loggable fields. Its message stays out, because a model's message may repeat what a person wrote. */
export function describeFailure(error: unknown): Record<string, unknown> {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  if (!(cause instanceof Error)) return { failure: typeof cause };
  const frames = (cause.stack ?? '').split('\n').filter((line) => /^\s+at /.test(line));
  return { failure: cause.name, frames: frames.slice(0, 6).map((line) => line.trim()) };
}
