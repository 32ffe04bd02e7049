import type { PendingArray, WritableDtype } from '@therapeutic-moe/checkpoint';
import type { Noise } from '@therapeutic-moe/experts';
import { seedFor } from '@therapeutic-moe/nn';
import { cutPiece } from '../hugging-face/piece-values.js';
import type { TensorPiece } from '../hugging-face/tensor-map.js';
import type { BaseReader } from './base-reader.js';
import { type FeedForwardWeights, takeNeurons, withNoise } from './expert-weights.js';
import type { LayerPlan } from './plan-layer.js';

/** What the tensors of an upcycled checkpoint are made of. */
export interface UpcycledParts {
  readonly base: BaseReader;
  /** What the layers with a mixture become, by their numbers. */
  readonly plans: ReadonlyMap<number, LayerPlan>;
  /** Moves every expert but the first. */
  readonly noise?: Noise;
}

/** The variables of a mixture; all others are the base's own. */
const mixtureParts = /^model\.layers\.(\d+)\.block_sparse_moe\.(?:gate\.weight|experts\.(gate_up_proj|down_proj))$/;

/**
 * The tensors of an upcycled checkpoint, each made when it is written: memory holds the tensor, the feed-forward it is
 * made from and one expert.
 *
 * @param map the new checkpoint's pieces of each parameter.
 */
export function upcycledTensors(
  parts: UpcycledParts,
  map: ReadonlyMap<string, readonly TensorPiece[]>,
  dtype: WritableDtype,
): PendingArray[] {
  const experts = new ExpertSource(parts);
  return [...map].flatMap(([path, pieces]) => {
    const [, layer, name] = mixtureParts.exec(path) ?? [];
    const values = async (piece: TensorPiece): Promise<Float32Array> => {
      if (layer === undefined) return parts.base.readPiece(path, piece);
      if (name === undefined) return cutPiece(parts.plans.get(Number(layer))!.gate, piece);
      return experts.piece(Number(layer), name === 'down_proj' ? 'down' : 'gateUp', piece);
    };
    return pieces.map((piece) => ({ name: piece.name, shape: piece.shape, dtype, read: () => values(piece) }));
  });
}

/** Makes the weights of experts; it keeps the feed-forward and the expert it made last. */
class ExpertSource {
  readonly #dense: (layer: number) => Promise<FeedForwardWeights>;
  readonly #expert: (layer: number, expert: number) => Promise<FeedForwardWeights>;

  constructor({ base, plans, noise }: UpcycledParts) {
    this.#dense = keepLast((layer) => readFeedForward(base, layer));
    this.#expert = keepLast(async (layer, expert) => {
      const [dense, own] = [await this.#dense(layer), plans.get(layer)!.experts?.[expert]];
      const taken = own ? takeNeurons(dense, base.config.hiddenSize, own) : dense;
      if (!noise || expert === 0) return taken;
      return withNoise(taken, { ...noise, seed: seedFor(noise.seed, `layers.${layer}.experts.${expert}`) });
    });
  }

  /** A piece of the stacked matrices of the experts of a layer: it lies in one of them, or is some of them whole. */
  async piece(layer: number, matrix: keyof FeedForwardWeights, piece: TensorPiece): Promise<Float32Array> {
    const each = (await this.#expert(layer, 0))[matrix].length;
    const size = piece.shape.reduce((product, axis) => product * axis, 1);
    const first = Math.floor(piece.start / each);
    if (size <= each)
      return cutPiece((await this.#expert(layer, first))[matrix], { ...piece, start: piece.start - first * each });
    const stack = new Float32Array(size);
    for (let i = 0; i * each < size; i++) stack.set((await this.#expert(layer, first + i))[matrix], i * each);
    return stack;
  }
}

async function readFeedForward(base: BaseReader, layer: number): Promise<FeedForwardWeights> {
  const mlp = `model.layers.${layer}.mlp`;
  return { gateUp: await base.read(`${mlp}.gate_up_proj.weight`), down: await base.read(`${mlp}.down_proj.weight`) };
}

/** A function that remembers the answer to its last question. */
function keepLast<K extends readonly number[], V>(make: (...key: K) => Promise<V>): (...key: K) => Promise<V> {
  let last: { key: string; value: Promise<V> } | undefined;
  return (...key) => {
    if (last?.key !== key.join()) last = { key: key.join(), value: make(...key) };
    return last.value;
  };
}
