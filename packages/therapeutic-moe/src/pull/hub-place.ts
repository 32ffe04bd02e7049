import { HubApiError } from '@huggingface/hub';

/** One revision of a repository on a hub, as the hub's client takes it. */
export interface HubPlace {
  /** `OWNER/NAME`. */
  readonly repo: string;
  /** A branch, a tag or a commit. */
  readonly revision: string;
  readonly hubUrl: string;
  readonly accessToken?: string;
}

/** The server does not keep to its own listing: to try again would change nothing. */
export class NotAsListed extends Error {}

/** A failure as the user should read it, where the hub itself refused; undefined where a connection broke. */
export function refusal(
  { repo, revision, hubUrl, accessToken }: HubPlace,
  cause: unknown,
  path?: string,
): Error | undefined {
  if (cause instanceof NotAsListed) return cause;
  if (!(cause instanceof HubApiError) || cause.statusCode >= 500 || cause.statusCode === 429) return undefined;
  const what = `pull: ${path ? `${path} of ` : ''}${repo} at ${revision}`;
  const given = accessToken ? 'the given token may not read it' : 'no token was given';
  const told: Record<number, string> = {
    401: `${hubUrl} refuses access (401): it does not exist, or is private, and ${given}. Set HF_TOKEN or give --token.`,
    403: `${hubUrl} refuses access (403): it is gated, and ${given}. Ask for access on its page, then set HF_TOKEN or give --token.`,
    404: `${hubUrl} does not have it (404). Check the name and --revision.`,
  };
  return new Error(`${what}: ${told[cause.statusCode] ?? `${hubUrl} answers ${cause.statusCode}: ${cause.message}`}`, {
    cause,
  });
}
