import type { ModelConfig } from '../model-config.js';

/**
 * One Hugging Face tensor and the block of our parameter that it fills. Hugging Face stores linears `[out, in]`, we
 * store `[in, out]`; its experts lie apart, ours are stacked with gate and up side by side.
 */
export interface TensorPiece {
  /** Hugging Face's name. */
  readonly name: string;
  /** Hugging Face's shape. */
  readonly shape: readonly number[];
  /** Where the block starts in our parameter, in values. */
  readonly start: number;
  /** Values from one row of the block to the next; absent: the piece is the parameter as it stands. */
  readonly rowStride?: number;
}

/** Our parameter paths, each with the pieces that make it up. */
export function tensorMap(config: ModelConfig): Map<string, TensorPiece[]> {
  const { hiddenSize, vocabSize, numAttentionHeads, numKeyValueHeads, headDim } = config;
  const map = new Map<string, TensorPiece[]>();
  const plain = (path: string, shape: number[]) => map.set(path, [{ name: path, shape, start: 0 }]);
  const linear = (path: string, input: number, output: number) =>
    map.set(path, [{ name: path, shape: [output, input], start: 0, rowStride: output }]);
  plain('model.embed_tokens.weight', [vocabSize, hiddenSize]);
  for (let i = 0; i < config.numHiddenLayers; i++) {
    const layer = `model.layers.${i}`;
    plain(`${layer}.input_layernorm.weight`, [hiddenSize]);
    linear(`${layer}.self_attn.q_proj.weight`, hiddenSize, numAttentionHeads * headDim);
    linear(`${layer}.self_attn.k_proj.weight`, hiddenSize, numKeyValueHeads * headDim);
    linear(`${layer}.self_attn.v_proj.weight`, hiddenSize, numKeyValueHeads * headDim);
    linear(`${layer}.self_attn.o_proj.weight`, numAttentionHeads * headDim, hiddenSize);
    plain(`${layer}.post_attention_layernorm.weight`, [hiddenSize]);
    for (const [path, pieces] of feedForwardPieces(layer, config)) map.set(path, pieces);
  }
  plain('model.norm.weight', [hiddenSize]);
  if (!config.tieWordEmbeddings) linear('lm_head.weight', hiddenSize, vocabSize);
  return map;
}

function feedForwardPieces(
  layer: string,
  { hiddenSize, intermediateSize, mixture }: ModelConfig,
): [string, TensorPiece[]][] {
  const gateUp = (names: [string, string], start: number): TensorPiece[] =>
    names.map((name, half) => ({
      name,
      shape: [intermediateSize, hiddenSize],
      start: start + half * intermediateSize,
      rowStride: 2 * intermediateSize,
    }));
  const down = (name: string, start: number): TensorPiece => ({
    name,
    shape: [hiddenSize, intermediateSize],
    start,
    rowStride: hiddenSize,
  });
  if (!mixture) {
    const mlp = `${layer}.mlp`;
    return [
      [`${mlp}.gate_up_proj.weight`, gateUp([`${mlp}.gate_proj.weight`, `${mlp}.up_proj.weight`], 0)],
      [`${mlp}.down_proj.weight`, [down(`${mlp}.down_proj.weight`, 0)]],
    ];
  }
  const moe = `${layer}.block_sparse_moe`;
  const experts = Array.from({ length: mixture.numExperts }, (_, e) => e);
  const gate = {
    name: `${moe}.gate.weight`,
    shape: [mixture.numExperts, hiddenSize],
    start: 0,
    rowStride: mixture.numExperts,
  };
  return [
    [`${moe}.gate.weight`, [gate]],
    [
      `${moe}.experts.gate_up_proj`,
      experts.flatMap((e) =>
        gateUp(
          [`${moe}.experts.${e}.w1.weight`, `${moe}.experts.${e}.w3.weight`],
          e * hiddenSize * 2 * intermediateSize,
        ),
      ),
    ],
    [
      `${moe}.experts.down_proj`,
      experts.map((e) => down(`${moe}.experts.${e}.w2.weight`, e * intermediateSize * hiddenSize)),
    ],
  ];
}

/** Copies a block of our parameter's values out, in Hugging Face's order. */
export function extractPiece({ shape, start, rowStride }: TensorPiece, source: Float32Array): Float32Array {
  const size = shape.reduce((a, b) => a * b, 1);
  if (rowStride === undefined) return source.slice(start, start + size);
  const [outputs, inputs] = shape as [number, number];
  const target = new Float32Array(size);
  for (let i = 0; i < inputs; i++) {
    const row = start + i * rowStride;
    for (let o = 0; o < outputs; o++) target[o * inputs + i] = source[row + o]!;
  }
  return target;
}
