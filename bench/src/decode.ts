import { countParameters, kvValuesPerToken, type ModelConfig, presets, resolveConfig } from '@therapeutic-moe/model';
import type { Comparison } from './comparison.js';

/** What one contender decodes. */
export interface DecodeInput {
  /** Tokens in the cache before the first timed one. */
  readonly prompt: number;
  /** Timed tokens; each is one repeat. */
  readonly tokens: number;
  readonly model: ModelConfig;
}

const tokens = 64;
const inputs: readonly DecodeInput[] = [
  { prompt: 128, tokens, model: presets.therapeutic() }, // the sizes of the embedded model
  { prompt: 256, tokens, model: plainMixture({ hiddenSize: 256, numHiddenLayers: 6 }) },
  { prompt: 256, tokens, model: plainMixture({ hiddenSize: 512, numHiddenLayers: 8 }) },
];

/** Top 2 of 4 experts twice as wide as the model, heads of 64, no grouped queries, a vocabulary of 1024. */
function plainMixture(sizes: { readonly hiddenSize: number; readonly numHiddenLayers: number }): ModelConfig {
  return resolveConfig({
    ...sizes,
    vocabSize: 1024,
    intermediateSize: 2 * sizes.hiddenSize,
    numAttentionHeads: sizes.hiddenSize / 64,
    maxPositionEmbeddings: 512,
    tieWordEmbeddings: true,
    bosTokenId: 0,
    eosTokenId: 0,
    mixture: { numExperts: 4, numExpertsPerTok: 2, softmaxOrder: 'before-top-k', normTopkProb: true },
  });
}

/**
 * Bytes that one token halfway through the timed ones must read: the weights it uses, and the keys and values before
 * it.
 */
export function bytesPerToken({ prompt, tokens, model }: DecodeInput): number {
  return 4 * (countParameters(model).activePerToken + kvValuesPerToken(model) * (prompt + tokens / 2));
}

function titleOf(input: DecodeInput): string {
  const { total, activePerToken } = countParameters(input.model);
  const [size, active, bytes] = [total, activePerToken, bytesPerToken(input)].map((n) => (n / 1e6).toFixed(1));
  return `one token after ${input.prompt}, ${size}M parameters, ${active}M active, ${bytes} MB read`;
}

/** Milliseconds per token, one sequence, keys and values cached, greedy. */
export const decode: Comparison = {
  name: 'decode',
  about: 'one token with a key-value cache, three sizes, against Hugging Face Mixtral',
  async cases(lab) {
    const backends = await lab.backends();
    return inputs.flatMap((input) =>
      backends.map((backend) => ({
        case: titleOf(input),
        backend,
        ours: () => lab.node('decode', { ...input, backend }),
        peers: [{ name: 'torch', measure: () => lab.python('decode', { ...input, backend }) }],
      })),
    );
  },
};
