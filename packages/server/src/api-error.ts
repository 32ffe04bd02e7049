/** OpenAI's error body: what its clients parse. */
export interface ApiErrorBody {
  error: { message: string; type: string; param: string | null; code: string | null };
}

const typeOfStatus: Record<number, string> = {
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  429: 'rate_limit_error',
};

/** A refusal with an HTTP status, in OpenAI's shape. */
export class ApiError extends Error {
  readonly status: number;
  readonly param: string | null;
  readonly code: string | null;
  readonly headers: Record<string, string>;

  constructor(
    status: number,
    message: string,
    more: { param?: string; code?: string; headers?: Record<string, string>; cause?: unknown } = {},
  ) {
    super(message, { cause: more.cause });
    this.name = 'ApiError';
    this.status = status;
    this.param = more.param ?? null;
    this.code = more.code ?? null;
    this.headers = more.headers ?? {};
  }

  /** The body clients receive. */
  body(): ApiErrorBody {
    const type = typeOfStatus[this.status] ?? (this.status >= 500 ? 'server_error' : 'invalid_request_error');
    return { error: { message: this.message, type, param: this.param, code: this.code } };
  }
}

/**
 * Turns whatever a request ended with into an {@link ApiError}. Only messages written for clients travel; anything
 * unexpected becomes a plain 500 that carries no internals.
 */
export function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof Error && (error as { code?: unknown }).code === 'context_length_exceeded') {
    return new ApiError(400, error.message, { param: 'messages', code: 'context_length_exceeded', cause: error });
  }
  return new ApiError(
    500,
    'The server could not answer this request. Try again; if it happens again, report the x-request-id of this response.',
    { code: 'internal_error', cause: error },
  );
}
