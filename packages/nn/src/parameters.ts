import type * as tf from '@tensorflow/tfjs-core';

/** Variables by path, the names a checkpoint uses. */
export type Parameters = ReadonlyMap<string, tf.Variable>;

/**
 * Joins the parameters of parts under their paths: `{ 'self_attn.q_proj': linear }` gives `self_attn.q_proj.weight`.
 */
export function joinParameters(parts: Record<string, { parameters(): Parameters }>): Map<string, tf.Variable> {
  const joined = new Map<string, tf.Variable>();
  for (const [path, part] of Object.entries(parts)) {
    for (const [name, variable] of part.parameters()) joined.set(`${path}.${name}`, variable);
  }
  return joined;
}
