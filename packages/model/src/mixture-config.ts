import { refuseUnknownKeys } from '@therapeutic-moe/nn';
import {
  type CapacityConfig,
  type RouterConfig,
  resolveCapacityConfig,
  resolveHierarchicalConfig,
  resolveRouterConfig,
  resolveSupervisorConfig,
  resolveTwoStageConfig,
} from '@therapeutic-moe/router';
import { requireObject } from './require-object.js';

/** A router other than top-k; its numbers of experts are those of the mixture. */
export type RouterKind =
  /** Chooses `topGroups` of `numGroups`, then `topExpertsPerGroup` in each; k is their product. */
  | {
      readonly kind: 'two-stage';
      readonly numGroups: number;
      readonly topGroups: number;
      readonly topExpertsPerGroup: number;
    }
  /** Chooses the k best of `p(group) p(expert | group)`, wherever they are. */
  | { readonly kind: 'hierarchical'; readonly numGroups: number }
  /** Looks along the sequence with `numAttentionHeads` heads, then chooses by a gate of `gateSize` inner numbers. */
  | { readonly kind: 'supervisor'; readonly numAttentionHeads: number; readonly gateSize: number };

/** Experts other than SwiGLU, of the same inner width. */
export type ExpertKind =
  /** `down(gelu(up x))`. */
  | { readonly kind: 'gelu' }
  /** SwiGLU behind a norm of each expert's own and a dropout of its input while training. */
  | { readonly kind: 'specialised'; readonly dropout: number }
  /** One input and one output projection for all, a norm and an inner matrix for each. */
  | { readonly kind: 'shared-projection' }
  /**
   * Small transformers of the experts' inner width over the tokens of a sequence that visit the same expert, weighed by
   * the expert's confidence.
   */
  | { readonly kind: 'transformer'; readonly numAttentionHeads: number };

/** An expert that every token visits beside the routed ones. */
export interface SharedExpertConfig {
  readonly intermediateSize: number;
  /** A sigmoid gate of the token weighs it (Qwen2-MoE); false: it counts in full (DeepSeekMoE). */
  readonly gate: boolean;
}

/** The Mixture of Experts of the layers; absent from a config, all feed-forward layers are dense. */
export interface MixtureConfig extends RouterConfig {
  /** Numbers of the layers that hold a mixture, ascending; the others are dense. Absent: every layer. */
  readonly layers?: readonly number[];
  /** Inner width of each expert. Absent: the model's `intermediateSize`. */
  readonly moeIntermediateSize?: number;
  /**
   * A name per expert, where experts stand for domains. Assigned by training text source, not a property of the
   * weights.
   */
  readonly domains?: readonly string[];
  /** Absent: top-k by one gate, with the options of `RouterConfig`, which the other kinds do not have. */
  readonly router?: RouterKind;
  /** Absent: SwiGLU. */
  readonly experts?: ExpertKind;
  /** Most tokens per expert. Absent: no limit, nothing is dropped. */
  readonly capacity?: CapacityConfig;
  /** Absent: none. */
  readonly sharedExpert?: SharedExpertConfig;
}

/** A mixture as given: what has a default may be left out of its capacity. */
export type PartialMixtureConfig = Omit<MixtureConfig, 'capacity'> & { readonly capacity?: Partial<CapacityConfig> };

/** The sizes of a model that a mixture must fit. */
interface MixtureSizes {
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly numHiddenLayers: number;
}

const where = 'model config: mixture';

/** What only top-k routers have. */
const topKOnly = ['scoring', 'routedScalingFactor', 'groups', 'routerJitterNoise', 'gateNoise', 'balanceBias'] as const;

const known = [
  'numExperts',
  'numExpertsPerTok',
  'softmaxOrder',
  'normTopkProb',
  ...topKOnly,
  'layers',
  'moeIntermediateSize',
  'domains',
  'router',
  'experts',
  'capacity',
  'sharedExpert',
];

/**
 * Checks a mixture and returns it frozen.
 *
 * @param sizes of the model, whose layers must be there and which the heads of a supervisor and of transformer experts must divide.
 * @throws Error naming field, value and way out.
 */
export function resolveMixture(mixture: PartialMixtureConfig, sizes: MixtureSizes): MixtureConfig {
  requireObject(mixture, where);
  refuseUnknownKeys(where, mixture, known);
  const { layers, moeIntermediateSize, domains, router, experts, capacity, sharedExpert, ...gate } = mixture;
  const resolved = resolveRouterConfig(gate);
  if (layers !== undefined) checkLayers(layers, sizes.numHiddenLayers);
  if (moeIntermediateSize !== undefined) refuseCount('moeIntermediateSize', moeIntermediateSize);
  if (domains !== undefined) checkDomains(domains, mixture.numExperts);
  return Object.freeze({
    ...resolved,
    ...(layers && { layers: Object.freeze([...layers]) }),
    ...(moeIntermediateSize && { moeIntermediateSize }),
    ...(domains && { domains: Object.freeze([...domains]) }),
    ...(router && { router: resolveRouter(router, resolved, sizes) }),
    ...(experts && { experts: resolveExperts(experts, innerWidth(moeIntermediateSize, sizes)) }),
    ...(capacity && { capacity: resolveCapacity(capacity, resolved) }),
    ...(sharedExpert && { sharedExpert: resolveSharedExpert(sharedExpert) }),
  });
}

function resolveRouter(router: RouterKind, gate: RouterConfig, { hiddenSize }: MixtureSizes): RouterKind {
  requireObject(router, `${where}.router`);
  if ((router.kind as string) === 'expert-choice') {
    throw new Error(
      `${where}: router.kind 'expert-choice' lets each expert choose among all tokens of a sequence, so an earlier token's experts would depend on later ones; a causal decoder needs token choice. Use top-k with a capacity.`,
    );
  }
  const { numExperts, numExpertsPerTok, normTopkProb } = gate;
  const only = topKOnly.find((field) => gate[field] !== undefined);
  if (only)
    throw new Error(
      `${where}: ${only} belongs to top-k routers, but router.kind is '${router.kind}'; leave one of them out.`,
    );
  if (gate.softmaxOrder !== 'before-top-k') {
    throw new Error(
      `${where}: softmaxOrder is '${gate.softmaxOrder}', but router.kind '${router.kind}' weighs by probabilities; use 'before-top-k'.`,
    );
  }
  const { kind, ...own } = router;
  if (router.kind === 'two-stage') {
    resolveTwoStageConfig({ numExperts, normTopkProb, ...(own as Omit<typeof router, 'kind'>) });
    const k = router.topGroups * router.topExpertsPerGroup;
    if (k !== numExpertsPerTok) {
      throw new Error(
        `${where}: numExpertsPerTok is ${numExpertsPerTok}, but router.topGroups ${router.topGroups} times topExpertsPerGroup ${router.topExpertsPerGroup} is ${k}; they must be equal.`,
      );
    }
  } else if (router.kind === 'hierarchical') {
    resolveHierarchicalConfig({ numExperts, numExpertsPerTok, normTopkProb, ...(own as Omit<typeof router, 'kind'>) });
  } else if (router.kind === 'supervisor') {
    const { numAttentionHeads, gateSize } = router;
    refuseUnknownKeys(`${where}.router`, own, ['numAttentionHeads', 'gateSize']);
    resolveSupervisorConfig({
      numExperts,
      numExpertsPerTok,
      normTopkProb,
      numAttentionHeads,
      causal: true,
      cacheKey: 'router',
    });
    refuseCount('router.gateSize', gateSize);
    if (hiddenSize % numAttentionHeads !== 0) {
      throw new Error(
        `${where}: router.numAttentionHeads is ${numAttentionHeads} but hiddenSize is ${hiddenSize}; it must divide it.`,
      );
    }
  } else {
    throw new Error(
      `${where}: router.kind must be 'two-stage', 'hierarchical' or 'supervisor', got '${String(kind)}'; leave router out for top-k.`,
    );
  }
  return Object.freeze({ ...router });
}

function resolveExperts(experts: ExpertKind, [innerField, inner]: readonly [field: string, width: number]): ExpertKind {
  requireObject(experts, `${where}.experts`);
  const fields: Record<ExpertKind['kind'], readonly string[]> = {
    gelu: [],
    specialised: ['dropout'],
    'shared-projection': [],
    transformer: ['numAttentionHeads'],
  };
  if (!Object.hasOwn(fields, experts.kind)) {
    throw new Error(
      `${where}: experts.kind must be one of ${Object.keys(fields).join(', ')}, got '${String(experts.kind)}'; leave experts out for SwiGLU.`,
    );
  }
  refuseUnknownKeys(`${where}.experts`, experts, ['kind', ...fields[experts.kind]]);
  if (experts.kind === 'specialised' && !(experts.dropout >= 0 && experts.dropout < 1)) {
    throw new Error(`${where}: experts.dropout must be 0 or more and below 1, got ${String(experts.dropout)}.`);
  }
  if (experts.kind === 'transformer') {
    refuseCount('experts.numAttentionHeads', experts.numAttentionHeads);
    if (inner % experts.numAttentionHeads !== 0) {
      throw new Error(
        `${where}: experts.numAttentionHeads is ${experts.numAttentionHeads} but ${innerField} is ${inner}; it must divide it.`,
      );
    }
  }
  return Object.freeze({ ...experts });
}

/** Unless told otherwise nothing is dropped outside of training, so that decoding repeats what one pass gives. */
function resolveCapacity(
  capacity: Partial<CapacityConfig>,
  { numExperts, numExpertsPerTok }: RouterConfig,
): CapacityConfig {
  requireObject(capacity, `${where}.capacity`);
  const resolved = resolveCapacityConfig({ evalCapacityFactor: numExperts / numExpertsPerTok, ...capacity });
  if (resolved.dropBy === 'probability') {
    throw new Error(
      `${where}: capacity.dropBy 'probability' lets later tokens push out earlier ones, which a causal decoder cannot repeat when it decodes; use 'position'.`,
    );
  }
  return resolved;
}

function resolveSharedExpert(shared: SharedExpertConfig): SharedExpertConfig {
  requireObject(shared, `${where}.sharedExpert`);
  refuseUnknownKeys(`${where}.sharedExpert`, shared, ['intermediateSize', 'gate']);
  refuseCount('sharedExpert.intermediateSize', shared.intermediateSize);
  if (typeof shared.gate !== 'boolean')
    throw new Error(`${where}: sharedExpert.gate must be true or false, got ${String(shared.gate)}.`);
  return Object.freeze({ ...shared });
}

/** The inner width of each expert, and the field that says it. */
function innerWidth(own: number | undefined, { intermediateSize }: MixtureSizes): readonly [string, number] {
  return own === undefined ? ['intermediateSize', intermediateSize] : ['moeIntermediateSize', own];
}

function checkLayers(layers: readonly number[], numHiddenLayers: number): void {
  if (!Array.isArray(layers) || layers.length === 0) {
    throw new Error(
      `${where}.layers must be a list of layer numbers, got ${JSON.stringify(layers)}; leave it out for every layer, or mixture for none.`,
    );
  }
  const bad = layers.find((layer) => !(Number.isInteger(layer) && layer >= 0 && layer < numHiddenLayers));
  if (bad !== undefined) {
    throw new Error(
      `${where}.layers names ${JSON.stringify(bad)}, but numHiddenLayers is ${numHiddenLayers}; layers are 0 to ${numHiddenLayers - 1}.`,
    );
  }
  const at = layers.findIndex((layer, i) => i > 0 && layer <= layers[i - 1]!);
  if (at > 0)
    throw new Error(`${where}.layers must ascend, each layer once, got ${layers[at]} after ${layers[at - 1]}.`);
}

function checkDomains(domains: readonly string[], numExperts: number): void {
  if (!Array.isArray(domains) || domains.some((name) => typeof name !== 'string')) {
    throw new Error(`${where}.domains must be a list of names, got ${JSON.stringify(domains)}.`);
  }
  if (domains.length !== numExperts) {
    throw new Error(
      `${where}.domains names ${domains.length} domains but numExperts is ${numExperts}; name each expert or none.`,
    );
  }
  const repeated = domains.find((name, i) => domains.indexOf(name) !== i);
  if (repeated !== undefined) {
    throw new Error(`${where}.domains names '${repeated}' twice; give each expert a name of its own.`);
  }
}

function refuseCount(field: string, value: number): void {
  if (!(Number.isSafeInteger(value) && value >= 1))
    throw new Error(`${where}: ${field} must be a whole number of 1 or more, got ${String(value)}.`);
}
