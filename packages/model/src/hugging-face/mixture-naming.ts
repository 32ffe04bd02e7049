import type { MixtureConfig } from '../mixture-config.js';

/** How a checkpoint names the mixture of a layer. */
export interface MixtureNaming {
  /** The mixture, below its layer. */
  readonly path: 'block_sparse_moe' | 'mlp';
  /** Gate, up and down projection of each expert; or all experts of a layer in two tensors, gate above up. */
  readonly experts: readonly [gate: string, up: string, down: string] | 'fused';
}

const mixtral = { path: 'block_sparse_moe', experts: ['w1', 'w3', 'w2'] } as const;
const qwen2Moe = { path: 'mlp', experts: ['gate_proj', 'up_proj', 'down_proj'] } as const;

/** What a family writes: Qwen2-MoE, which always has a shared expert, or Mixtral, which never has. */
export function familyNaming({ sharedExpert }: MixtureConfig): MixtureNaming {
  return sharedExpert ? qwen2Moe : mixtral;
}

/**
 * What a file has, as its names tell: a family's own, or transformers 5's as it keeps them in memory and saves them with
 * `save_original_format=False`. What they do not tell is the family's own.
 */
export function namingOf(names: readonly string[], mixture: MixtureConfig): MixtureNaming {
  const own = familyNaming(mixture);
  const has = (pattern: RegExp) => names.some((name) => pattern.test(name));
  const path = has(/\.mlp\.(gate\.weight|experts\.)/) ? 'mlp' : has(/\.block_sparse_moe\./) ? mixtral.path : own.path;
  if (has(/\.experts\.gate_up_proj$/)) return { path, experts: 'fused' };
  const known = [mixtral, qwen2Moe].find(({ experts: [gate] }) => has(new RegExp(`\\.experts\\.\\d+\\.${gate}\\.`)));
  return { path, experts: (known ?? own).experts };
}
