import type { MixtureConfig } from '../mixture-config.js';
import { countMixtureLayers, expertSize } from '../mixture-layers.js';
import type { ModelConfig } from '../model-config.js';
import { ropeReasons } from './rope.js';

/** `model_type` of a family of Hugging Face's that we write. */
export type HuggingFaceFamily = 'mistral' | 'mixtral' | 'qwen2_moe';

/** A model as one of Hugging Face's families says it. */
export interface HuggingFaceForm {
  readonly family: HuggingFaceFamily;
  /** The same function of the tokens, as a reader of the family finds it. */
  readonly config: ModelConfig;
  /** In what it is another model to train, in words; empty: written then read is the model as it was. */
  readonly changes: readonly string[];
}

/** Why no family holds a model: its fields, in words. */
export interface NoHuggingFaceForm {
  readonly reasons: readonly string[];
}

/** Width of the shared expert of zeros that stands where a model has none and its family always does. */
const NO_SHARED_EXPERT = { intermediateSize: 1, gate: true } as const;

/**
 * Chooses the family that says what a config says: Mistral without a mixture, Mixtral with one in every layer, and
 * Qwen2-MoE where some layers are dense, a shared expert or biases of q, k and v exist, or weights are not renormalised.
 */
export function huggingFaceForm(config: ModelConfig): HuggingFaceForm | NoHuggingFaceForm {
  const { attention, positions, qkvBias, mixture, ...rest } = config;
  const reasons = [
    ...(attention ? [`attention.kind '${attention.kind}'`] : []),
    ...(positions ? [`positions.kind '${positions.kind}'`] : []),
    ...ropeReasons(config),
    ...(qkvBias && !mixture ? ['qkvBias without a mixture'] : []),
    ...(mixture ? mixtureReasons(mixture) : []),
  ];
  if (reasons.length > 0) return { reasons };
  if (!mixture) return { family: 'mistral', config: rest, changes: [] };
  return needsQwen2Moe(config, mixture) ? asQwen2Moe(config, mixture) : asMixtral(config, mixture);
}

/**
 * The form of a model whose config fits a family.
 *
 * @throws naming every field that none has.
 */
export function requireHuggingFaceForm(config: ModelConfig): HuggingFaceForm {
  const form = huggingFaceForm(config);
  if ('family' in form) return form;
  throw new Error(
    `model config: ${form.reasons.join(', ')}: no counterpart in Hugging Face's Mistral, Mixtral or Qwen2-MoE; save it in our own layout (saveModelDirectory).`,
  );
}

/** Settings that act in training only and that no family has. */
const trainingOnly = ['routerJitterNoise', 'gateNoise', 'capacity'] as const;

/** What both families have a field for. */
const common = new Set([
  'numExperts',
  'numExpertsPerTok',
  'softmaxOrder',
  'normTopkProb',
  'domains',
  'layers',
  'moeIntermediateSize',
  ...trainingOnly,
]);

/** Why a field with this value has no place; undefined: it says what the families do anyway. */
const reasonsOf: { [F in keyof MixtureConfig]?: (mixture: MixtureConfig) => string | false | undefined } = {
  scoring: ({ scoring }) => scoring !== 'softmax' && `mixture.scoring '${scoring}'`,
  routedScalingFactor: ({ routedScalingFactor: factor }) => factor !== 1 && `mixture.routedScalingFactor ${factor}`,
  balanceBias: ({ balanceBias }) => balanceBias && 'mixture.balanceBias',
  groups: () => 'mixture.groups',
  router: ({ router }) => `mixture.router '${router!.kind}'`,
  experts: ({ experts }) => `mixture.experts '${experts!.kind}'`,
  sharedExpert: ({ sharedExpert }) => !sharedExpert!.gate && 'mixture.sharedExpert without a gate',
  capacity: ({ capacity, numExperts, numExpertsPerTok }) =>
    capacity!.evalCapacityFactor * numExpertsPerTok < numExperts &&
    `mixture.capacity, whose evalCapacityFactor ${capacity!.evalCapacityFactor} drops choices outside of training too`,
};

function mixtureReasons(mixture: MixtureConfig): string[] {
  return Object.keys(mixture).flatMap((name) => {
    const field = name as keyof MixtureConfig;
    const reason = reasonsOf[field] ? reasonsOf[field](mixture) : !common.has(field) && `mixture.${field}`;
    return reason ? [reason] : [];
  });
}

function needsQwen2Moe(config: ModelConfig, { sharedExpert, normTopkProb }: MixtureConfig): boolean {
  return Boolean(config.qkvBias) || sharedExpert !== undefined || !normTopkProb || !isEverywhere(config);
}

function isEverywhere(config: ModelConfig): boolean {
  return countMixtureLayers(config) === config.numHiddenLayers;
}

function asMixtral(config: ModelConfig, mixture: MixtureConfig): HuggingFaceForm {
  const { moeIntermediateSize: intermediateSize = config.intermediateSize, ...rest } = plainMixture(config, mixture);
  return {
    family: 'mixtral',
    config: { ...config, intermediateSize, mixture: rest },
    changes: leftOut(mixture),
  };
}

function asQwen2Moe(config: ModelConfig, mixture: MixtureConfig): HuggingFaceForm {
  const { sharedExpert = NO_SHARED_EXPERT } = mixture;
  const added = `a shared expert of width ${NO_SHARED_EXPERT.intermediateSize} is added, since Qwen2-MoE always has one; its weights are zeros and its output exactly 0`;
  return {
    family: 'qwen2_moe',
    config: { ...config, mixture: { ...plainMixture(config, mixture), sharedExpert } },
    changes: [...(mixture.sharedExpert ? [] : [added]), ...leftOut(mixture)],
  };
}

/** A mixture in the families' own words. `after-top-k` weighs as renormalised probabilities do. */
function plainMixture(config: ModelConfig, mixture: MixtureConfig): MixtureConfig {
  const { numExperts, numExpertsPerTok, normTopkProb, layers, moeIntermediateSize, domains } = mixture;
  return {
    ...{ numExperts, numExpertsPerTok, softmaxOrder: 'before-top-k', normTopkProb },
    ...(layers && !isEverywhere(config) && { layers }),
    ...(expertSize(config) !== config.intermediateSize && { moeIntermediateSize }),
    ...(domains && { domains }),
  };
}

function leftOut(mixture: MixtureConfig): string[] {
  return trainingOnly
    .filter((field) => mixture[field] !== undefined)
    .map((field) => `mixture.${field} is left out, which acts in training only`);
}
