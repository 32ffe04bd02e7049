import * as tf from '@tensorflow/tfjs-core';
import { dispatchRows, flashAttention } from '@therapeutic-moe/kernels';
import { freshLayers, type LayerFactory, type Parameters, type StackedLayer, seedFor } from '@therapeutic-moe/nn';
import type { SequenceCache } from '@therapeutic-moe/router';
import type { ExpertPass, ExpertRows, Experts, Sequences } from './experts.js';
import { readsAtOnce } from './reads-at-once.js';
import { runsOf, sequenceBlocks } from './sequence-blocks.js';
import { stackedWeights } from './stacked-layers.js';
import { StackedRmsNorm } from './stacked-rms-norm.js';

/** The parts of transformer experts. */
export interface TransformerParts {
  /** `[experts, hidden, size]` */
  readonly encoder: StackedLayer;
  /** `[experts, size]`, before the attention. */
  readonly norm: StackedRmsNorm;
  /** `[experts, size, 3 * size]`: queries, keys, values side by side. */
  readonly qkv: StackedLayer;
  /** `[experts, size, size]` */
  readonly attentionOutput: StackedLayer;
  /** `[experts, size, hidden]` */
  readonly decoder: StackedLayer;
  /** `[experts, size, 1]` */
  readonly confidence: StackedLayer;
}

/** Large enough that a softmax over float32 scores gives exactly 0. */
const HIDDEN_FROM_VIEW = -1e9;

/**
 * Experts that are small transformers: an encoder, causal self-attention (arXiv:1706.03762) among the tokens of the
 * same sequence that the router sent to the same expert, and a decoder weighed by the expert's confidence in the token:
 * `s = encode x; a = s + attention(norm s); y = decode a * sigmoid(confidence a)`.
 *
 * Positions are not encoded again: hidden states carry what the layers before have told them. Every pass needs
 * `sequences`. With `pass.cache`, one sequence is decoded piece by piece.
 */
export class TransformerExperts implements Experts {
  /** @param parts owned from now on. @param heads attention heads; they divide `size`. */
  constructor(
    readonly parts: TransformerParts,
    readonly heads: number,
  ) {
    const { encoder } = parts;
    const { experts, inputSize: hidden, outputSize: size } = encoder;
    const expected: Record<keyof TransformerParts, number[]> = {
      encoder: [experts, hidden, size],
      norm: [experts, size],
      qkv: [experts, size, 3 * size],
      attentionOutput: [experts, size, size],
      decoder: [experts, size, hidden],
      confidence: [experts, size, 1],
    };
    const { norm, ...matrices } = parts;
    const shapes: [keyof TransformerParts, number[]][] = Object.entries(matrices).map(([name, stacked]) => [
      name as keyof TransformerParts,
      [stacked.experts, stacked.inputSize, stacked.outputSize],
    ]);
    for (const [name, shape] of [...shapes, ['norm', norm.scale.weight.shape] as const]) {
      if (shape.join() !== expected[name].join()) {
        throw new Error(
          `TransformerExperts: ${name} must be [${expected[name].join(', ')}], got [${shape.join(', ')}].`,
        );
      }
    }
    if (!Number.isInteger(heads) || heads < 1 || size % heads !== 0) {
      throw new Error(`TransformerExperts: ${heads} heads cannot share a size of ${size}; use a divisor of it.`);
    }
  }

  /** Normally distributed weights; `downDeviation` is that of the two matrices that write to a residual stream. */
  static create(
    { experts, hidden, intermediate, heads }: { experts: number; hidden: number; intermediate: number; heads: number },
    {
      deviation,
      downDeviation,
      rmsNormEps,
      seed,
    }: { deviation: number; downDeviation: number; rmsNormEps: number; seed: number },
    layers: LayerFactory = freshLayers,
  ): TransformerExperts {
    const matrix = (path: string, inputSize: number, outputSize: number, spread: number) =>
      layers.stacked(path, experts, inputSize, outputSize, { deviation: spread, seed: seedFor(seed, path) });
    return new TransformerExperts(
      {
        encoder: matrix('encoder', hidden, intermediate, deviation),
        norm: StackedRmsNorm.create(experts, intermediate, rmsNormEps),
        qkv: matrix('qkv_proj', intermediate, 3 * intermediate, deviation),
        attentionOutput: matrix('o_proj', intermediate, intermediate, downDeviation),
        decoder: matrix('decoder', intermediate, hidden, downDeviation),
        confidence: matrix('confidence', intermediate, 1, deviation),
      },
      heads,
    );
  }

  get experts(): number {
    return this.parts.encoder.experts;
  }

  get hidden(): number {
    return this.parts.encoder.inputSize;
  }

  applyGrouped(rows: tf.Tensor2D, groups: ExpertRows, pass?: ExpertPass): tf.Tensor2D {
    return tf.tidy(() => {
      const attended = this.#attendGrouped(rows, groups, pass);
      const confidence = tf.sigmoid(this.parts.confidence.applyGrouped(attended, groups.offsets));
      return tf.mul(this.parts.decoder.applyGrouped(attended, groups.offsets), confidence);
    });
  }

  /**
   * How sure each row's expert is of it, in 0 to 1: the factor in its output. A pass with a cache is refused, since
   * asking must not add to it.
   *
   * @param rows `[rows, hidden]` sorted by expert. @returns `[rows]`. Caller disposes.
   */
  confidences(rows: tf.Tensor2D, groups: ExpertRows, pass: ExpertPass): tf.Tensor1D {
    if (pass.cache)
      throw new Error('TransformerExperts.confidences: leave out pass.cache; ask for the whole sequence.');
    return tf.tidy(() => {
      const attended = this.#attendGrouped(rows, groups, pass);
      return tf.reshape(tf.sigmoid(this.parts.confidence.applyGrouped(attended, groups.offsets)), [-1]);
    });
  }

  /** With `pass.cache`, keys and values of every token are kept, and beside them who was here. */
  applyExpert(hidden: tf.Tensor2D, expert: number, visits: tf.Tensor1D, pass?: ExpertPass): tf.Tensor2D {
    const sequences = sequencesOf(pass);
    return tf.tidy(() => {
      const { encoder, norm, qkv, attentionOutput, decoder, confidence } = this.parts;
      const state = encoder.applyExpert(hidden, expert);
      const [q, k, v] = this.#split(qkv.applyExpert(norm.applyExpert(state, expert), expert), sequences);
      const here = tf.reshape(visits, [sequences.batch, sequences.seq, 1, 1]) as tf.Tensor4D;
      const seen = pass?.cache?.append(keyOf(expert), k, v) ?? { k, v };
      const visited = pass?.cache?.append(`${keyOf(expert)}.visits`, here, here).k ?? here;
      const mixed = attendVisited(q, seen.k, seen.v, visited, this.#scale);
      const attended = tf.add(state, attentionOutput.applyExpert(this.#join(mixed), expert)) as tf.Tensor2D;
      return tf.mul(decoder.applyExpert(attended, expert), tf.sigmoid(confidence.applyExpert(attended, expert)));
    });
  }

  rebuild(change: (stacked: tf.Tensor) => tf.Tensor): TransformerExperts {
    const { encoder, norm, qkv, attentionOutput, decoder, confidence } = this.parts;
    return new TransformerExperts(
      {
        encoder: encoder.rebuild(change),
        norm: norm.rebuild(change),
        qkv: qkv.rebuild(change),
        attentionOutput: attentionOutput.rebuild(change),
        decoder: decoder.rebuild(change),
        confidence: confidence.rebuild(change),
      },
      this.heads,
    );
  }

  parameters(): Parameters {
    const { encoder, norm, qkv, attentionOutput, decoder, confidence } = this.parts;
    const matrices = { encoder, qkv_proj: qkv, o_proj: attentionOutput, decoder, confidence };
    return new Map([...stackedWeights(matrices), ['norm', norm.scale.weight]]);
  }

  dispose(): void {
    for (const part of Object.values(this.parts)) part.dispose();
  }

  get #headDim(): number {
    return this.parts.encoder.outputSize / this.heads;
  }

  get #scale(): number {
    return this.#headDim ** -0.5;
  }

  #attendGrouped(rows: tf.Tensor2D, groups: ExpertRows, pass?: ExpertPass): tf.Tensor2D {
    const sequences = sequencesOf(pass);
    const { encoder, norm, qkv, attentionOutput } = this.parts;
    const { offsets, groupOfRow } = groups;
    const state = encoder.applyGrouped(rows, offsets);
    const projected = qkv.applyGrouped(norm.applyGrouped(state, groupOfRow), offsets);
    const mixed = pass?.cache
      ? this.#attendCached(projected, groups, sequences, pass.cache)
      : this.#attendBlocks(projected, groups, sequences);
    return tf.add(state, attentionOutput.applyGrouped(mixed, offsets));
  }

  /** @param projected `[rows, 3 * size]` @returns `[rows, size]` */
  #attendBlocks(projected: tf.Tensor2D, groups: ExpertRows, sequences: Sequences): tf.Tensor2D {
    const { blocks, length, toBlocks, toRows } = sequenceBlocks(groups, this.experts, sequences);
    const [q, k, v] = this.#split(dispatchRows(projected, toBlocks), { batch: blocks, seq: length });
    // A row's own place is before all padding, so the causal mask hides the padding too.
    const mixed = flashAttention(q, k, v, { causal: true, scale: this.#scale });
    return dispatchRows(this.#join(mixed), toRows);
  }

  /** Each expert adds its rows to its own keys and values, and looks at all of them. */
  #attendCached(projected: tf.Tensor2D, groups: ExpertRows, sequences: Sequences, cache: SequenceCache): tf.Tensor2D {
    if (!readsAtOnce()) {
      throw new Error(
        `TransformerExperts: sorted rows and a cache need a backend that reads at once, not '${tf.getBackend()}'; use dispatch 'dense'.`,
      );
    }
    const size = this.parts.encoder.outputSize;
    const pieces: tf.Tensor2D[] = [];
    let end = 0;
    for (const { expert, first, count } of runsOf(groups, sequences)) {
      if (first > end) pieces.push(tf.zeros([first - end, size]));
      const [q, k, v] = this.#split(tf.slice(projected, [first, 0], [count, -1]), { batch: 1, seq: count });
      const seen = cache.append(keyOf(expert), k, v);
      pieces.push(this.#join(flashAttention(q, seen.k, seen.v, { causal: true, scale: this.#scale })));
      end = first + count;
    }
    const rows = projected.shape[0];
    if (rows > end) pieces.push(tf.zeros([rows - end, size]));
    return pieces.length === 1 ? pieces[0]! : tf.concat2d(pieces, 0);
  }

  /** @returns queries, keys and values `[batch, seq, heads, headDim]`. */
  #split(projected: tf.Tensor2D, { batch, seq }: Sequences): [tf.Tensor4D, tf.Tensor4D, tf.Tensor4D] {
    const shape: [number, number, number, number] = [batch, seq, this.heads, this.#headDim];
    const [q, k, v] = tf.split(projected, 3, 1).map((part) => tf.reshape(part, shape)) as tf.Tensor4D[];
    return [q!, k!, v!];
  }

  /** @param mixed `[batch, seq, heads, headDim]` @returns `[batch * seq, size]` */
  #join(mixed: tf.Tensor4D): tf.Tensor2D {
    return tf.reshape(mixed, [-1, this.parts.encoder.outputSize]);
  }
}

/** The name of an expert's keys and values in a cache. */
function keyOf(expert: number): string {
  return `experts.${expert}`;
}

function sequencesOf(pass: ExpertPass | undefined): Sequences {
  const sequences = pass?.sequences;
  if (!sequences) {
    throw new Error(
      'TransformerExperts: attention needs to know the sequences; give the pass { sequences: { batch, seq } }.',
    );
  }
  if (pass.cache && sequences.batch !== 1) {
    throw new Error(
      `TransformerExperts: a cache serves one sequence, got a batch of ${sequences.batch}; decode one at a time.`,
    );
  }
  return sequences;
}

/**
 * Causal attention to those keys whose token was here, by the whole score matrix: the plain form. A query that sees no
 * key gives numbers that mean nothing.
 *
 * @param q `[batch, seq, heads, headDim]`, the last of the keys' tokens. @param visited `[batch, keys, 1, 1]`.
 */
function attendVisited(q: tf.Tensor4D, k: tf.Tensor4D, v: tf.Tensor4D, visited: tf.Tensor, scale: number): tf.Tensor4D {
  const [batch, seq] = q.shape;
  const keys = k.shape[1];
  const [queries, seen, values] = [q, k, v].map((t) => tf.transpose(t, [0, 2, 1, 3]));
  const later = Float32Array.from({ length: seq * keys }, (_, i) =>
    i % keys > Math.floor(i / keys) + keys - seq ? 1 : 0,
  );
  const absent = tf.sub(1, tf.reshape(visited, [batch, 1, 1, keys]));
  const unseen = tf.mul(tf.maximum(tf.tensor4d(later, [1, 1, seq, keys]), absent), HIDDEN_FROM_VIEW);
  const scores = tf.add(tf.mul(tf.matMul(queries!, seen!, false, true), scale), unseen);
  return tf.transpose(tf.matMul(tf.softmax(scores), values!), [0, 2, 1, 3]);
}
