import type { Case, Comparison } from './comparison.js';
import { precisionsOf, suffixOf, torchPeers } from './precision.js';

/** One training step's sizes, under Hugging Face's names. The head is the embedding transposed. */
export interface TrainStepShape {
  readonly batch: number;
  readonly seq: number;
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly numHiddenLayers: number;
  readonly numAttentionHeads: number;
  readonly numExperts: number;
  readonly numExpertsPerTok: number;
}

const shape: TrainStepShape = {
  batch: 8,
  seq: 256,
  vocabSize: 256,
  hiddenSize: 256,
  intermediateSize: 512,
  numHiddenLayers: 4,
  numAttentionHeads: 4,
  numExperts: 4,
  numExpertsPerTok: 2,
};

/** Forward, backward and AdamW of a small Mixture-of-Experts decoder. */
export const trainStep: Comparison = {
  name: 'train-step',
  about:
    'forward, backward and AdamW of a 4-layer Mixture-of-Experts decoder, against naive tfjs and Hugging Face Mixtral',
  async cases(lab) {
    const cases: Case[] = [];
    for (const backend of await lab.backends()) {
      for (const precision of precisionsOf(backend)) {
        for (const vocabSize of [256, 4096]) {
          const input = { ...shape, vocabSize, precision };
          const torch = torchPeers(lab, 'train_step', { ...input, repeats: lab.repeats, backend }, precision);
          const naive = {
            name: 'tfjs-wasm-naive',
            measure: () => lab.node('train-step-naive', { ...input, repeats: lab.naiveRepeats }),
          };
          cases.push({
            case: `d256 L4 E4 h512 top-2, batch 8 x 256, vocab ${vocabSize} tied${suffixOf(precision)}`,
            backend,
            ours: () => lab.node('train-step', { ...input, backend, repeats: lab.repeats }),
            peers: backend === 'wasm' && vocabSize === 256 ? [naive, ...torch] : torch,
          });
        }
      }
    }
    return cases;
  },
};
