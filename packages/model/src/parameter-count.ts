import {
  type AdaptableSizes,
  countLoraParameters,
  type LoraConfig,
  planLora,
  resolveLoraConfig,
} from '@therapeutic-moe/lora';
import type { AdaptedLinear } from './adapter-activations.js';
import { countMixtureLayers, expertSize, isMixtureLayer } from './mixture-layers.js';
import type { ModelConfig } from './model-config.js';
import { attentionLinears, layerShapes, outerShapes, type ParameterShape } from './parameter-shapes.js';

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
export function countParameters(config: ModelConfig, lora?: Partial<LoraConfig>): ParameterCount {
  const outer = sumSizes(outerShapes(config), config);
  const layers = layersOfEachKind(config).map(([count, layer]) => {
    const one = sumSizes(layerShapes(config, layer), config);
    return { total: count * one.total, active: count * one.active };
  });
  const total = layers.reduce((sum, kind) => sum + kind.total, outer.total);
  const activePerToken = layers.reduce((sum, kind) => sum + kind.active, outer.total);
  const adapter = lora ? countLoraParameters('countParameters', adaptableSizes(config), lora) : 0;
  return { total, trainable: lora ? adapter : total, activePerToken };
}

/**
 * What an adapter would lie on, by path; `gate_proj` and `up_proj` are halves of one `gate_up_proj`, and a stack of experts
 * has the sizes of all that one token visits.
 *
 * @throws as `countParameters` does.
 */
export function adaptedLinears(config: ModelConfig, lora: Partial<LoraConfig>): ReadonlyMap<string, AdaptedLinear> {
  const { linears, stacks } = adaptableSizes(config);
  const plan = planLora('adaptedLinears', { linears: linears.keys(), stacks: stacks.keys() }, resolveLoraConfig(lora));
  const visited = config.mixture?.numExpertsPerTok ?? 0;
  const adapted = new Map<string, AdaptedLinear>();
  for (const [path, { r }] of plan.linears) {
    const half = path.match(/\.(?:gate|up)_proj$/);
    const whole = half ? path.replace(half[0], '.gate_up_proj') : path;
    const [inputSize, outputSize] = linears.get(path)!;
    const { updates, rank } = adapted.get(whole) ?? { updates: 0, rank: 0 };
    const size = half ? 2 * outputSize : outputSize;
    adapted.set(whole, { inputSize, outputSize: size, updates: updates + 1, rank: rank + r });
  }
  for (const [path, { r }] of plan.stacks) {
    const [, inputSize, outputSize] = stacks.get(path)!;
    const sizes = { inputSize: visited * inputSize, outputSize: visited * outputSize };
    adapted.set(path, { ...sizes, updates: 1, rank: visited * r });
  }
  return adapted;
}

/** How many layers hold a mixture and how many are dense, each with the number of one of them. */
function layersOfEachKind(config: ModelConfig): (readonly [count: number, layer: number])[] {
  const mixed = countMixtureLayers(config);
  const dense = config.numHiddenLayers - mixed;
  const first = (isWanted: (layer: number) => boolean) => {
    let layer = 0;
    while (!isWanted(layer)) layer++;
    return layer;
  };
  return [
    ...(mixed > 0 ? [[mixed, first((layer) => isMixtureLayer(config, layer))] as const] : []),
    ...(dense > 0 ? [[dense, first((layer) => !isMixtureLayer(config, layer))] as const] : []),
  ];
}

/** Of `active`, a stack of experts counts as the k that a token visits. */
function sumSizes(
  shapes: readonly (readonly [string, ParameterShape])[],
  { mixture }: ModelConfig,
): { total: number; active: number } {
  let [total, active] = [0, 0];
  for (const [, { shape, stacked }] of shapes) {
    const size = shape.reduce((product, axis) => product * axis, 1);
    total += size;
    active += stacked ? (size / mixture!.numExperts) * mixture!.numExpertsPerTok : size;
  }
  return { total, active };
}

/** What a model of this config has as `linears()` and `stacks()`, in sizes. */
function adaptableSizes(config: ModelConfig): AdaptableSizes {
  const { hiddenSize, intermediateSize, vocabSize, mixture } = config;
  const linears = new Map<string, readonly [number, number]>();
  const stacks = new Map<string, readonly [number, number, number]>();
  for (let i = 0; i < config.numHiddenLayers; i++) {
    const gated = (path: string, inner: number) => {
      for (const name of ['gate_proj', 'up_proj'])
        linears.set(`model.layers.${i}.${path}.${name}`, [hiddenSize, inner]);
      linears.set(`model.layers.${i}.${path}.down_proj`, [inner, hiddenSize]);
    };
    for (const [name, size] of Object.entries(attentionLinears(config)))
      linears.set(`model.layers.${i}.self_attn.${name}`, size);
    if (!isMixtureLayer(config, i)) {
      gated('mlp', intermediateSize);
      continue;
    }
    const { numExperts, sharedExpert, experts } = mixture!;
    if (sharedExpert) gated('mlp.shared_expert', sharedExpert.intermediateSize);
    if (sharedExpert?.gate) linears.set(`model.layers.${i}.mlp.shared_expert_gate`, [hiddenSize, 1]);
    if (experts) continue; // of other kinds than gated ones, which have no stacks to adapt
    const inner = expertSize(config);
    stacks.set(`model.layers.${i}.mlp.experts.gate_up_proj`, [numExperts, hiddenSize, 2 * inner]);
    stacks.set(`model.layers.${i}.mlp.experts.down_proj`, [numExperts, inner, hiddenSize]);
  }
  if (!config.tieWordEmbeddings) linears.set('lm_head', [hiddenSize, vocabSize]);
  return { linears, stacks };
}
