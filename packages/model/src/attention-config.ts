import { type MultiLevelConfig, resolveMultiLevelConfig } from '@therapeutic-moe/attention';
import { requireObject } from './require-object.js';

/** Attention other than plain; heads and sizes are those of the model. */
export type AttentionKind =
  /** At full resolution in a window and at coarser ones all the way back, with a learned mix of them. */
  { readonly kind: 'multi-level' } & MultiLevelConfig;

/** A kind of attention as given: what has a default may be left out. */
export type PartialAttentionKind = { readonly kind: 'multi-level' } & Pick<MultiLevelConfig, 'window'> &
  Partial<MultiLevelConfig>;

const where = 'model config: attention';

/** Checks a kind of attention and returns it frozen. @throws Error naming field, value and way out. */
export function resolveAttentionKind(attention: PartialAttentionKind): AttentionKind {
  requireObject(attention, where);
  switch (attention.kind) {
    case 'multi-level': {
      const { kind, ...levels } = attention;
      return Object.freeze({ kind, ...resolveMultiLevelConfig(levels) });
    }
    default: {
      const { kind } = attention as { kind: unknown };
      throw new Error(`${where}: kind must be 'multi-level', got '${String(kind)}'; leave attention out for plain.`);
    }
  }
}
