import { countParameters, presets } from '@therapeutic-moe/model';
import type { Comparison } from './comparison.js';

const model = presets.therapeutic();

/** What the contenders decode with; the sizes are those of the embedded model. */
const input = {
  /** Tokens in the cache before the first timed one. */
  prompt: 128,
  /** Timed tokens; each is one repeat. */
  tokens: 64,
  model,
};

export type DecodeInput = typeof input;

/** Milliseconds per token, one sequence, keys and values cached, greedy. */
export const decode: Comparison = {
  name: 'decode',
  about: "one token with a key-value cache, at the embedded model's size, against Hugging Face Mixtral",
  async cases(lab) {
    const millions = (countParameters(model).total / 1e6).toFixed(1);
    const backends = await lab.backends();
    return backends.map((backend) => ({
      case: `one token after ${input.prompt}, embedded size (${millions}M parameters)`,
      backend,
      ours: () => lab.node('decode', { ...input, backend }),
      peers: [{ name: 'torch', measure: () => lab.python('decode', { ...input, backend }) }],
    }));
  },
};
