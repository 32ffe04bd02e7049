import { Embedding, type EmbeddingLayer } from './embedding.js';
import { filledVariable, unfilledVariable } from './initialise.js';
import { type BaseLinear, Linear } from './linear.js';
import { type StackedLayer, StackedLinear } from './stacked-linear.js';

/** How fresh weights are drawn; a factory that has weights already does not ask. */
export interface FreshWeights {
  readonly deviation?: number;
  readonly seed: number;
}

/**
 * Where the parts of a model get the layers that hold its weights: fresh ones, or ones that hold weights already. Paths
 * are those of `parameters()`, without `.weight`. The caller owns every layer.
 */
export interface LayerFactory {
  /** @param weights with `bias`, a zero bias beside them. */
  linear(
    path: string,
    inputSize: number,
    outputSize: number,
    weights: FreshWeights & { readonly bias?: boolean },
  ): BaseLinear;
  stacked(path: string, experts: number, inputSize: number, outputSize: number, weights: FreshWeights): StackedLayer;
  embedding(path: string, vocabSize: number, hiddenSize: number, weights: Required<FreshWeights>): EmbeddingLayer;
}

/** Layers of normally distributed variables, whatever their path. */
export const freshLayers: LayerFactory = {
  linear: (_, inputSize, outputSize, weights) => Linear.create(inputSize, outputSize, weights),
  stacked: (_, experts, inputSize, outputSize, weights) =>
    StackedLinear.create(experts, inputSize, outputSize, weights),
  embedding: (_, vocabSize, hiddenSize, weights) => Embedding.create(vocabSize, hiddenSize, weights),
};

/** Layers of variables that a checkpoint fills: whatever is read before holds any values. A bias is zero until then. */
export const unfilledLayers: LayerFactory = {
  linear: (_, inputSize, outputSize, { bias }) =>
    new Linear(unfilledVariable([inputSize, outputSize]), bias ? filledVariable([outputSize], 0) : undefined),
  stacked: (_, experts, inputSize, outputSize) => new StackedLinear(unfilledVariable([experts, inputSize, outputSize])),
  embedding: (_, vocabSize, hiddenSize) => new Embedding(unfilledVariable([vocabSize, hiddenSize])),
};

/** The same factory for a part whose paths start with `prefix` and a dot. */
export function layersUnder(layers: LayerFactory, prefix: string): LayerFactory {
  return {
    linear: (path, ...rest) => layers.linear(`${prefix}.${path}`, ...rest),
    stacked: (path, ...rest) => layers.stacked(`${prefix}.${path}`, ...rest),
    embedding: (path, ...rest) => layers.embedding(`${prefix}.${path}`, ...rest),
  };
}
