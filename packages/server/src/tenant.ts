import { ApiError } from './api-error.js';

/**
 * Whose cached answers a request may share: the holder of its API key; else the configured header, where a trusted
 * proxy in front sets it; else the tenant that `serve` fixed for a caller on this machine. None of them: no caching.
 *
 * @throws ApiError 400 when the header's value is not a plain name.
 */
export function tenantOf(
  header: (name: string) => string | undefined,
  from: { caller?: string; tenantHeader?: string; fixed?: string },
): string | undefined {
  if (from.caller !== undefined) return `key:${from.caller}`;
  const named = from.tenantHeader === undefined ? undefined : header(from.tenantHeader);
  if (named !== undefined) {
    if (/^[\w.:@-]{1,128}$/.test(named)) return `header:${named}`;
    throw new ApiError(
      400,
      `${from.tenantHeader}: must be 1 to 128 letters, digits or _ . : @ -, got something else.`,
      {
        param: from.tenantHeader,
      },
    );
  }
  const cameThroughProxy = header('forwarded') !== undefined || header('x-forwarded-for') !== undefined;
  return from.fixed === undefined || cameThroughProxy ? undefined : `fixed:${from.fixed}`;
}
