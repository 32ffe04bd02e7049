import { expertSize, isMixtureLayer } from '../mixture-layers.js';
import type { ModelConfig } from '../model-config.js';
import { familyNaming, type MixtureNaming, namingOf } from './mixture-naming.js';

/**
 * A matrix or vector of Hugging Face's and the block of our parameter that it fills. Hugging Face stores linears
 * `[out, in]`, we store `[in, out]`; its experts may lie apart, ours are stacked with gate and up side by side.
 */
export interface TensorPiece {
  /** Hugging Face's name of the tensor. */
  readonly name: string;
  /** Of the piece, in Hugging Face's order. */
  readonly shape: readonly number[];
  /** Where the piece lies in a larger tensor: its shape, and its first value there. Absent: it is the whole tensor. */
  readonly within?: { readonly shape: readonly number[]; readonly start: number };
  /** Where the block starts in our parameter, in values. */
  readonly start: number;
  /** Values from one row of the block to the next; absent: the piece is the parameter as it stands. */
  readonly rowStride?: number;
}

type Pieces = [path: string, pieces: TensorPiece[]][];

/**
 * Our parameter paths, each with the pieces that make it up.
 *
 * @param names of the tensors in a file, which tell how it names experts; absent: as the family writes them.
 */
export function tensorMap(config: ModelConfig, names?: readonly string[]): Map<string, TensorPiece[]> {
  const { hiddenSize, vocabSize, mixture } = config;
  const naming = mixture && (names ? namingOf(names, mixture) : familyNaming(mixture));
  const layers = Array.from({ length: config.numHiddenLayers }, (_, layer) => {
    const path = `model.layers.${layer}`;
    return [
      vector(`${path}.input_layernorm.weight`, hiddenSize),
      ...attentionPieces(`${path}.self_attn`, config),
      vector(`${path}.post_attention_layernorm.weight`, hiddenSize),
      ...(naming && isMixtureLayer(config, layer)
        ? mixturePieces(path, config, naming)
        : gatedPieces(`${path}.mlp`, `${path}.mlp`, [hiddenSize, config.intermediateSize])),
    ];
  });
  return new Map([
    ['model.embed_tokens.weight', [{ name: 'model.embed_tokens.weight', shape: [vocabSize, hiddenSize], start: 0 }]],
    ...layers.flat(),
    vector('model.norm.weight', hiddenSize),
    ...(config.tieWordEmbeddings ? [] : [linear('lm_head.weight', [hiddenSize, vocabSize])]),
  ]);
}

function vector(path: string, size: number): Pieces[number] {
  return [path, [{ name: path, shape: [size], start: 0 }]];
}

/** @param name Hugging Face's, where it differs. */
function linear(path: string, [input, output]: readonly [number, number], name = path): Pieces[number] {
  return [path, [turned(name, [output, input], { start: 0, rowStride: output })]];
}

function turned(name: string, shape: readonly number[], block: { start: number; rowStride: number }): TensorPiece {
  return { name, shape, ...block };
}

function attentionPieces(path: string, config: ModelConfig): Pieces {
  const { hiddenSize, numAttentionHeads, numKeyValueHeads, headDim, qkvBias } = config;
  const [queries, keys] = [numAttentionHeads * headDim, numKeyValueHeads * headDim];
  const inputs = Object.entries({ q_proj: queries, k_proj: keys, v_proj: keys }).flatMap(([name, outputs]) => [
    linear(`${path}.${name}.weight`, [hiddenSize, outputs]),
    ...(qkvBias ? [vector(`${path}.${name}.bias`, outputs)] : []),
  ]);
  return [...inputs, linear(`${path}.o_proj.weight`, [queries, hiddenSize])];
}

/** A gated feed-forward, dense or shared. @param sizes hidden and inner. */
function gatedPieces(path: string, name: string, [hidden, inner]: readonly [number, number]): Pieces {
  const half = (projection: string, start: number) =>
    turned(`${name}.${projection}.weight`, [inner, hidden], { start, rowStride: 2 * inner });
  return [
    [`${path}.gate_up_proj.weight`, [half('gate_proj', 0), half('up_proj', inner)]],
    linear(`${path}.down_proj.weight`, [inner, hidden], `${name}.down_proj.weight`),
  ];
}

function mixturePieces(layer: string, config: ModelConfig, { path, experts }: MixtureNaming): Pieces {
  const [ours, theirs] = [`${layer}.block_sparse_moe`, `${layer}.${path}`];
  const { hiddenSize: hidden, mixture } = config;
  const { numExperts, sharedExpert } = mixture!;
  const sizes = { experts: numExperts, hidden, inner: expertSize(config) };
  const [gateUp, down] =
    experts === 'fused'
      ? fusedExperts(`${theirs}.experts`, sizes)
      : separateExperts(`${theirs}.experts`, experts, sizes);
  return [
    linear(`${ours}.gate.weight`, [hidden, numExperts], `${theirs}.gate.weight`),
    [`${ours}.experts.gate_up_proj`, gateUp],
    [`${ours}.experts.down_proj`, down],
    ...(sharedExpert
      ? [
          ...gatedPieces(`${ours}.shared_expert`, `${theirs}.shared_expert`, [hidden, sharedExpert.intermediateSize]),
          ...(sharedExpert.gate
            ? [linear(`${ours}.shared_expert_gate.weight`, [hidden, 1], `${theirs}.shared_expert_gate.weight`)]
            : []),
        ]
      : []),
  ];
}

interface ExpertSizes {
  readonly experts: number;
  readonly hidden: number;
  readonly inner: number;
}

type ExpertPieces = readonly [gateUp: TensorPiece[], down: TensorPiece[]];

function separateExperts(
  path: string,
  [gate, up, down]: readonly [string, string, string],
  { experts, hidden, inner }: ExpertSizes,
): ExpertPieces {
  const each = Array.from({ length: experts }, (_, expert) => expert);
  const half = (expert: number, name: string, start: number) =>
    turned(`${path}.${expert}.${name}.weight`, [inner, hidden], {
      start: expert * hidden * 2 * inner + start,
      rowStride: 2 * inner,
    });
  const downOf = (expert: number) =>
    turned(`${path}.${expert}.${down}.weight`, [hidden, inner], { start: expert * inner * hidden, rowStride: hidden });
  return [each.flatMap((expert) => [half(expert, gate, 0), half(expert, up, inner)]), each.map(downOf)];
}

/** `gate_up_proj` `[experts, 2 * inner, hidden]` and `down_proj` `[experts, hidden, inner]`, a matrix for each expert. */
function fusedExperts(path: string, { experts, hidden, inner }: ExpertSizes): ExpertPieces {
  const matrices = (name: string, [outputs, inputs]: readonly [number, number]) =>
    Array.from({ length: experts }, (_, expert): TensorPiece => {
      const start = expert * outputs * inputs;
      const within = { shape: [experts, outputs, inputs], start };
      return { name: `${path}.${name}`, shape: [outputs, inputs], within, start, rowStride: outputs };
    });
  return [matrices('gate_up_proj', [2 * inner, hidden]), matrices('down_proj', [hidden, inner])];
}
