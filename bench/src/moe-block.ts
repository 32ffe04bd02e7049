import type { Case, Comparison } from './comparison.js';

/** A Mixture-of-Experts block's sizes, under Hugging Face's names. */
export interface MoeBlockShape {
  readonly tokens: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly numExperts: number;
  readonly numExpertsPerTok: number;
  /** Whether the gradients to hidden states, gate and experts are computed too. */
  readonly backward: boolean;
}

const shape = { tokens: 2048, hiddenSize: 256, intermediateSize: 1024, numExpertsPerTok: 2 };

/** Router and SwiGLU experts on hidden states, in float32. */
export const moeBlock: Comparison = {
  name: 'moe-block',
  about: 'router and SwiGLU experts with 4, 8 and 32 experts, forward and backward, against Hugging Face Mixtral',
  async cases(lab) {
    const cases: Case[] = [];
    for (const backend of await lab.backends()) {
      for (const backward of [false, true]) {
        for (const numExperts of [4, 8, 32]) {
          const input = { ...shape, numExperts, backward, backend, repeats: lab.repeats };
          cases.push({
            case: `MoE block T2048 d256 h1024 SwiGLU top-2 E${numExperts}, ${backward ? 'forward+backward' : 'forward'}`,
            backend,
            ours: () => lab.node('moe-block', input),
            peers: [{ name: 'torch', measure: () => lab.python('moe_block', input) }],
          });
        }
      }
    }
    return cases;
  },
};
