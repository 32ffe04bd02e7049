import type { Case, Comparison } from './comparison.js';
import { type Precision, precisionsOf, suffixOf, torchPeers } from './precision.js';

/** A Mistral and its adapter, under Hugging Face's and PEFT's names. */
export interface LoraStepShape {
  readonly batch: number;
  readonly seq: number;
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly numHiddenLayers: number;
  readonly numAttentionHeads: number;
  readonly numKeyValueHeads: number;
  readonly precision: Precision;
  readonly r: number;
  readonly loraAlpha: number;
}

const shape = {
  batch: 4,
  seq: 512,
  vocabSize: 4096,
  hiddenSize: 512,
  intermediateSize: 1536,
  numHiddenLayers: 8,
  numAttentionHeads: 8,
  numKeyValueHeads: 4,
  r: 16,
  loraAlpha: 32,
};

/** Forward, backward and AdamW of an adapter on a frozen Mistral. */
export const loraStep: Comparison = {
  name: 'lora-step',
  about: 'forward, backward and AdamW of a LoRA of rank 16 on q, k, v, o of a frozen Mistral, against PEFT',
  async cases(lab) {
    const cases: Case[] = [];
    for (const backend of await lab.backends()) {
      for (const precision of precisionsOf(backend)) {
        const input: LoraStepShape = { ...shape, precision };
        cases.push({
          case: `Mistral d512 L8 h1536 heads 8/4, vocab 4096, r 16, batch 4 x 512${suffixOf(precision)}`,
          backend,
          ours: () => lab.node('lora-step', { ...input, backend, repeats: lab.repeats }),
          peers: torchPeers(lab, 'lora_step', { ...input, backend, repeats: lab.repeats }, precision),
        });
      }
    }
    return cases;
  },
};
