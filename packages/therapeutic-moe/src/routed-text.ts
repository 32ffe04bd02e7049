import * as tf from '@tensorflow/tfjs-core';
import type { CausalLm, ForwardOptions } from '@therapeutic-moe/model';

/** Where one layer sent the tokens of a text. */
export interface RoutedLayer {
  /** `[tokens, experts]` row by row. */
  readonly probabilities: Float32Array;
  /** Chosen experts, best first, `[tokens, k]` row by row. */
  readonly indices: Int32Array;
  /** Their weights `[tokens, k]` row by row. */
  readonly weights: Float32Array;
}

/** A text and where its tokens went. */
export interface RoutedText {
  /** The first one starts the text. */
  readonly ids: readonly number[];
  readonly layers: readonly RoutedLayer[];
}

/**
 * Routes tokens through a model. What is longer than its context is routed in pieces, each without what came before it.
 *
 * @throws when the model has no experts.
 */
export async function routeIds(
  decoder: CausalLm,
  ids: readonly number[],
  pass: Pick<ForwardOptions, 'adapters'> = {},
): Promise<RoutedText> {
  if (!decoder.config.mixture) throw new Error('model.routing: this model has no experts.');
  const pieces: RoutedLayer[][] = [];
  for (let at = 0; at < ids.length; at += decoder.maxPositions)
    pieces.push(await routePiece(decoder, ids.slice(at, at + decoder.maxPositions), pass));
  const layers = pieces[0]!.map((_, layer) => joinPieces(pieces.map((piece) => piece[layer]!)));
  return { ids, layers };
}

async function routePiece(decoder: CausalLm, ids: readonly number[], pass: ForwardOptions): Promise<RoutedLayer[]> {
  const kept = tf.tidy(() => {
    const { routings } = decoder.forward(tf.tensor2d([[...ids]], [1, ids.length], 'int32'), {
      lastOnly: true,
      ...pass,
    });
    return routings.map(({ probabilities, indices, weights }) => ({ probabilities, indices, weights }));
  });
  try {
    return await Promise.all(
      kept.map(async ({ probabilities, indices, weights }) => ({
        probabilities: (await probabilities.data()) as Float32Array,
        indices: (await indices.data()) as Int32Array,
        weights: (await weights.data()) as Float32Array,
      })),
    );
  } finally {
    tf.dispose(kept);
  }
}

function joinPieces(pieces: readonly RoutedLayer[]): RoutedLayer {
  if (pieces.length === 1) return pieces[0]!;
  const join = <T extends Float32Array | Int32Array>(
    kind: new (length: number) => T,
    of: (one: RoutedLayer) => T,
  ): T => {
    const whole = new kind(pieces.reduce((sum, piece) => sum + of(piece).length, 0));
    let at = 0;
    for (const piece of pieces) {
      whole.set(of(piece), at);
      at += of(piece).length;
    }
    return whole;
  };
  return {
    probabilities: join(Float32Array, (piece) => piece.probabilities),
    indices: join(Int32Array, (piece) => piece.indices),
    weights: join(Float32Array, (piece) => piece.weights),
  };
}
