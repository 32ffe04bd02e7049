import type { Case, Comparison, Measured } from './comparison.js';
import { type Precision, precisionsOf, suffixOf, torchPeers } from './precision.js';

/** A Mixture-of-Experts block's sizes, under Hugging Face's names. */
export interface MoeBlockShape {
  readonly tokens: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly numExperts: number;
  readonly numExpertsPerTok: number;
  /** Of the products; the bfloat16 peer runs under autocast. */
  readonly precision: Precision;
  /** Whether the gradients to hidden states, gate and experts are computed too. */
  readonly backward: boolean;
}

const shape = { tokens: 2048, hiddenSize: 256, intermediateSize: 1024, numExpertsPerTok: 2 };

/** Router and SwiGLU experts on hidden states. */
export const moeBlock: Comparison = {
  name: 'moe-block',
  about: 'router and SwiGLU experts with 4, 8 and 32 experts, forward and backward, against Hugging Face Mixtral',
  async cases(lab) {
    const cases: Case[] = [];
    for (const backend of await lab.backends()) {
      for (const precision of precisionsOf(backend)) {
        for (const backward of [false, true]) {
          for (const numExperts of [4, 8, 32]) {
            const input = { ...shape, numExperts, backward, precision, backend, repeats: lab.repeats };
            const pass = backward ? 'forward+backward' : 'forward';
            cases.push({
              case: `MoE block T2048 d256 h1024 SwiGLU top-2 E${numExperts}, ${pass} on ${backend}${suffixOf(precision)}`,
              backend,
              ours: () => lab.node('moe-block', input),
              peers: torchPeers(lab, 'moe_block', input, precision),
            });
          }
        }
      }
    }
    return cases;
  },
  conclude: compareExpertCounts,
};

/** Whether the cost depends on the number of experts: 32 against 4, which compute equally many products. */
function compareExpertCounts(measured: readonly Measured[]): string[] {
  const few = measured.filter((one) => one.case.includes(' E4,'));
  return few.flatMap(({ case: name, backend, ours }) => {
    const many = measured.find((one) => one.backend === backend && one.case === name.replace(' E4,', ' E32,'));
    if (!many) return [];
    const ratio = (many.ours.medianMs / ours.medianMs).toFixed(2);
    return [`${backend}: E32 takes ${ratio} times as long as E4 (${name.slice(name.indexOf(', ') + 2)})`];
  });
}
