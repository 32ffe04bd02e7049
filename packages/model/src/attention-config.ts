import { type MultiLevelConfig, resolveMultiLevelConfig } from '@therapeutic-moe/attention';
import { refuseUnknownKeys } from '@therapeutic-moe/nn';
import { requireObject } from './require-object.js';

/** Attention other than plain; heads and sizes are those of the model. */
export type AttentionKind =
  /** At full resolution in a window and at coarser ones all the way back, with a learned mix of them. */
  | ({ readonly kind: 'multi-level' } & MultiLevelConfig)
  /** Each projection is a shared one plus a mix of what domains have of their own; a router weighs the domains. */
  | ({ readonly kind: 'domain' } & DomainAttentionConfig);

/** Domain-specific attention. */
export interface DomainAttentionConfig {
  readonly numDomains: number;
  /** What each domain has of its own in every projection: a bias, or a matrix. */
  readonly terms: 'biases' | 'projections';
  /** Of the matrices; absent: full ones. */
  readonly rank?: number;
}

/** A kind of attention as given: what has a default may be left out. */
export type PartialAttentionKind =
  | ({ readonly kind: 'multi-level' } & Pick<MultiLevelConfig, 'window'> & Partial<MultiLevelConfig>)
  | Extract<AttentionKind, { kind: 'domain' }>;

const where = 'model config: attention';

/**
 * Checks a kind of attention and returns it frozen.
 *
 * @param model that it is for, whose window must leave room for the kind's own.
 * @throws Error naming field, value and way out.
 */
export function resolveAttentionKind(
  attention: PartialAttentionKind,
  { slidingWindow }: { readonly slidingWindow?: number },
): AttentionKind {
  requireObject(attention, where);
  switch (attention.kind) {
    case 'multi-level': {
      const { kind, ...levels } = attention;
      if (slidingWindow !== undefined) {
        throw new Error(
          `${where}: slidingWindow is ${slidingWindow}, but kind 'multi-level' has a window of its own and looks all the way back behind it; leave slidingWindow out.`,
        );
      }
      return Object.freeze({ kind, ...resolveMultiLevelConfig(levels) });
    }
    case 'domain': {
      checkDomainAttention(attention);
      return Object.freeze({ ...attention });
    }
    default: {
      const { kind } = attention as { kind: unknown };
      throw new Error(
        `${where}: kind must be 'multi-level' or 'domain', got '${String(kind)}'; leave attention out, or set null over a preset's, for plain.`,
      );
    }
  }
}

function checkDomainAttention(attention: { readonly kind: 'domain' } & DomainAttentionConfig): void {
  refuseUnknownKeys(where, attention, ['kind', 'numDomains', 'terms', 'rank']);
  const { numDomains, terms, rank } = attention;
  refuseCount('numDomains', numDomains);
  if (terms !== 'biases' && terms !== 'projections')
    throw new Error(`${where}: terms must be 'biases' or 'projections', got '${String(terms)}'.`);
  if (rank === undefined) return;
  refuseCount('rank', rank);
  if (terms === 'biases')
    throw new Error(`${where}: rank belongs to terms 'projections', but terms is 'biases'; leave it out.`);
}

function refuseCount(field: string, value: number): void {
  if (!(Number.isSafeInteger(value) && value >= 1))
    throw new Error(`${where}: ${field} must be a whole number of 1 or more, got ${String(value)}.`);
}
