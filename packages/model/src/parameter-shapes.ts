import type { DomainAttentionConfig } from './attention-config.js';
import { expertSize, isMixtureLayer, mixtureLayers } from './mixture-layers.js';
import type { ModelConfig } from './model-config.js';

/** A variable of a model, as its config describes it. */
export interface ParameterShape {
  readonly shape: readonly number[];
  /** The first axis counts experts, of which a token visits k. */
  readonly stacked?: true;
  /**
   * How a model holds it in fewer bytes: with a row for each output of `[input, output]` or `[experts, input, output]`,
   * or with the rows that it has. Absent: it is always float32.
   */
  readonly frozenAs?: 'linear' | 'rows';
}

/** A parameter that a model may hold in fewer bytes. */
export type FrozenShape = ParameterShape & Required<Pick<ParameterShape, 'frozenAs'>>;

type Shapes = [path: string, shape: ParameterShape][];

/** Every trained variable of a model by path, without building it: `CausalLm.parameters()` in shapes. */
export function parameterShapes(config: ModelConfig): Map<string, ParameterShape> {
  const layers = Array.from({ length: config.numHiddenLayers }, (_, i) =>
    under(`model.layers.${i}`, layerShapes(config, i)),
  );
  return new Map([...outerShapes(config), ...layers.flat()]);
}

/** Those of a model's parameters that it may hold in fewer bytes, by path. */
export function frozenShapes(config: ModelConfig): Map<string, FrozenShape> {
  const isFrozen = (entry: readonly [string, ParameterShape]): entry is [string, FrozenShape] =>
    entry[1].frozenAs !== undefined;
  return new Map([...parameterShapes(config)].filter(isFrozen));
}

/** What lies around the layers: embedding, last norm, head. */
export function outerShapes(config: ModelConfig): Shapes {
  const { hiddenSize: hidden, vocabSize, tieWordEmbeddings } = config;
  return [
    ['model.embed_tokens.weight', { shape: [vocabSize, hidden], frozenAs: 'rows' }],
    ...under('model.embed_positions', positionShapes(config)),
    plain('model.norm.weight', hidden),
    ...(tieWordEmbeddings ? [] : [linear('lm_head.weight', hidden, vocabSize)]),
  ];
}

function positionShapes({ positions, maxPositionEmbeddings, hiddenSize: hidden }: ModelConfig): Shapes {
  const table = plain('weight', maxPositionEmbeddings, hidden);
  if (positions?.kind === 'learned') return [table];
  return positions?.kind === 'hybrid' ? [table, plain('gate', hidden)] : [];
}

/** What is saved beside the parameters: `CausalLm.buffers()` in shapes. */
export function bufferShapes(config: ModelConfig): Map<string, ParameterShape> {
  const { mixture } = config;
  if (!mixture?.balanceBias) return new Map();
  return new Map(
    mixtureLayers(config).map((layer) =>
      plain(`model.layers.${layer}.block_sparse_moe.gate.e_score_correction_bias`, mixture.numExperts),
    ),
  );
}

/** Sizes of the attention projections of one layer: input, output. */
export function attentionLinears({
  hiddenSize,
  numAttentionHeads,
  numKeyValueHeads,
  headDim,
}: ModelConfig): Record<string, readonly [number, number]> {
  const [queries, keys] = [numAttentionHeads * headDim, numKeyValueHeads * headDim];
  return {
    q_proj: [hiddenSize, queries],
    k_proj: [hiddenSize, keys],
    v_proj: [hiddenSize, keys],
    o_proj: [queries, hiddenSize],
  };
}

/** The variables of one layer, by their paths in it. */
export function layerShapes(config: ModelConfig, layer: number): Shapes {
  const { hiddenSize: hidden, intermediateSize: inner } = config;
  return [
    plain('input_layernorm.weight', hidden),
    ...under('self_attn', attentionShapes(config)),
    ...(config.attention?.kind === 'domain' ? [plain('domain_gate.weight', hidden, config.attention.numDomains)] : []),
    plain('post_attention_layernorm.weight', hidden),
    ...(isMixtureLayer(config, layer)
      ? under('block_sparse_moe', mixtureShapes(config))
      : [linear('mlp.gate_up_proj.weight', hidden, 2 * inner), linear('mlp.down_proj.weight', inner, hidden)]),
  ];
}

function attentionShapes(config: ModelConfig): Shapes {
  const { attention, hiddenSize, numAttentionHeads, qkvBias } = config;
  const projections = Object.entries(attentionLinears(config)).flatMap(([name, sizes]) => [
    linear(`${name}.weight`, ...sizes),
    ...(qkvBias && name !== 'o_proj' ? [plain(`${name}.bias`, sizes[1])] : []),
  ]);
  switch (attention?.kind) {
    case undefined:
      return projections;
    case 'multi-level': {
      const gates = numAttentionHeads * (1 + attention.strides.length);
      return [...projections, plain('level_gate.weight', hiddenSize, gates), plain('level_gate.bias', gates)];
    }
    case 'domain': {
      const terms = Object.entries(attentionLinears(config)).map(([name, sizes]) =>
        under(`domains.${name}`, termShapes(attention, sizes)),
      );
      return [...projections, ...terms.flat()];
    }
  }
}

function termShapes(
  { numDomains, terms, rank }: DomainAttentionConfig,
  [input, output]: readonly [number, number],
): Shapes {
  if (terms === 'biases') return [plain('bias', numDomains, output)];
  if (rank === undefined) return [plain('weight', numDomains, input, output)];
  return [plain('down', input, numDomains, rank), plain('up', numDomains, rank, output)];
}

function mixtureShapes(config: ModelConfig): Shapes {
  const { hiddenSize: hidden, mixture } = config;
  const shared = mixture!.sharedExpert;
  return [
    ...under('gate', routerShapes(config)),
    ...under('experts', expertShapes(config)),
    ...(shared
      ? [
          linear('shared_expert.gate_up_proj.weight', hidden, 2 * shared.intermediateSize),
          linear('shared_expert.down_proj.weight', shared.intermediateSize, hidden),
          ...(shared.gate ? [plain('shared_expert_gate.weight', hidden, 1)] : []),
        ]
      : []),
  ];
}

function routerShapes({ hiddenSize: hidden, mixture }: ModelConfig): Shapes {
  const { router, numExperts } = mixture!;
  if (!router) return [plain('weight', hidden, numExperts)];
  if (router.kind === 'supervisor') {
    return [
      ...['q_proj', 'k_proj', 'v_proj', 'o_proj'].map((name) => plain(`${name}.weight`, hidden, hidden)),
      plain('up_proj.weight', hidden, router.gateSize),
      plain('down_proj.weight', router.gateSize, numExperts),
    ];
  }
  return [plain('group_gate.weight', hidden, router.numGroups), plain('expert_gate.weight', hidden, numExperts)];
}

function expertShapes(config: ModelConfig): Shapes {
  const { hiddenSize: hidden, mixture } = config;
  const inner = expertSize(config);
  const each = (path: string, ...sizes: number[]): Shapes[number] => [
    path,
    { shape: [mixture!.numExperts, ...sizes], stacked: true, ...(sizes.length === 2 && { frozenAs: 'linear' }) },
  ];
  const swiGlu = [each('gate_up_proj', hidden, 2 * inner), each('down_proj', inner, hidden)];
  switch (mixture!.experts?.kind) {
    case undefined:
      return swiGlu;
    case 'gelu':
      return [each('up_proj', hidden, inner), each('down_proj', inner, hidden)];
    case 'specialised':
      return [each('norm', hidden), ...swiGlu];
    case 'shared-projection':
      return [
        linear('in_proj.weight', hidden, inner),
        each('norm', inner),
        each('inner_proj', inner, inner),
        linear('out_proj.weight', inner, hidden),
      ];
    case 'transformer':
      return [
        each('encoder', hidden, inner),
        each('norm', inner),
        each('qkv_proj', inner, 3 * inner),
        each('o_proj', inner, inner),
        each('decoder', inner, hidden),
        each('confidence', inner, 1),
      ];
  }
}

function plain(path: string, ...shape: number[]): Shapes[number] {
  return [path, { shape }];
}

function linear(path: string, input: number, output: number): Shapes[number] {
  return [path, { shape: [input, output], frozenAs: 'linear' }];
}

function under(path: string, shapes: Shapes): Shapes {
  return shapes.map(([name, shape]) => [`${path}.${name}`, shape]);
}
