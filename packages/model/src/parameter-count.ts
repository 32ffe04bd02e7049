import { type LoraConfig, resolveLoraConfig } from '@therapeutic-moe/lora';
import type { ModelConfig } from './model-config.js';

/**
 * Exact numbers of parameters, from the config alone. An adapter's factors are counted in `trainable` only: merged, they
 * add nothing to the model.
 */
export interface ParameterCount {
  /** Of the model itself. */
  readonly total: number;
  /** All of them, or with an adapter only its factors. */
  readonly trainable: number;
  /** Those of `total` that one token's forward pass uses: k of the experts and everything else. */
  readonly activePerToken: number;
}

/**
 * Counts parameters without building anything.
 *
 * @param lora the adapter to count with, if any.
 * @throws when the adapter's settings are impossible or it targets a linear that the model does not have.
 */
export function countParameters(config: ModelConfig, lora?: Pick<LoraConfig, 'r' | 'targetModules'>): ParameterCount {
  const { hiddenSize, intermediateSize, numHiddenLayers, vocabSize, mixture } = config;
  const linears = attentionLinears(config);
  const attention = Object.values(linears).reduce((sum, [input, output]) => sum + input * output, 0);
  const norms = 2 * hiddenSize;
  const expert = 3 * hiddenSize * intermediateSize;
  const gate = mixture ? hiddenSize * mixture.numExperts : 0;
  const embeddings = vocabSize * hiddenSize * (config.tieWordEmbeddings ? 1 : 2);
  const outside = embeddings + hiddenSize;
  const layerWith = (experts: number) => attention + norms + gate + experts * expert;
  const adapter = lora ? numHiddenLayers * adapterSize(linears, resolveLoraConfig(lora)) : 0;
  const base = outside + numHiddenLayers * layerWith(mixture?.numExperts ?? 1);
  return {
    total: base,
    trainable: lora ? adapter : base,
    activePerToken: outside + numHiddenLayers * layerWith(mixture?.numExpertsPerTok ?? 1),
  };
}

/** Keys and values that one token leaves in the cache, in numbers. */
export function kvValuesPerToken({ numHiddenLayers, numKeyValueHeads, headDim }: ModelConfig): number {
  return 2 * numHiddenLayers * numKeyValueHeads * headDim;
}

function attentionLinears({
  hiddenSize,
  numAttentionHeads,
  numKeyValueHeads,
  headDim,
}: ModelConfig): Record<string, [number, number]> {
  const [queries, keys] = [numAttentionHeads * headDim, numKeyValueHeads * headDim];
  return {
    q_proj: [hiddenSize, queries],
    k_proj: [hiddenSize, keys],
    v_proj: [hiddenSize, keys],
    o_proj: [queries, hiddenSize],
  };
}

function adapterSize(linears: Record<string, [number, number]>, { r, targetModules }: LoraConfig): number {
  return targetModules.reduce((sum, target) => {
    const sizes = linears[target];
    if (!sizes)
      throw new Error(`countParameters: lora target '${target}' is not one of ${Object.keys(linears).join(', ')}.`);
    return sum + r * (sizes[0] + sizes[1]);
  }, 0);
}
