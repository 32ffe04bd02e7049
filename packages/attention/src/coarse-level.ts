import * as tf from '@tensorflow/tfjs-core';
import { flashAttention } from '@therapeutic-moe/kernels';
import { blockMeans, lastOfBlocks, repeatRows } from './blocks.js';
import type { LevelCache } from './level-cache.js';
import type { Heads } from './project-heads.js';

/** A level that sees the text in blocks. */
interface CoarseLevel {
  /** Tokens per block. */
  readonly stride: number;
  /** Factor on the scores. */
  readonly scale: number;
}

/** Where nothing was before, nothing is kept. */
const empty: LevelCache = { start: 0, append: (_key, k, v) => ({ k, v }) };

/**
 * What blocks of `stride` tokens bring to each token: causal attention among the whole blocks, where the keys and values
 * of a block are the means of its tokens' and its queries are those of its last token. A token takes what the last block
 * brought that ended at it or before it, and 0 where none did yet.
 *
 * @param heads queries of the new tokens; keys and values of these and, before them, of the tokens of the block that
 *   earlier passes left unfinished.
 * @param cache of this layer, where tokens came before.
 * @returns `[batch, seq, heads, headDim]`. Caller disposes.
 */
export function coarseLevel(heads: Heads, level: CoarseLevel, cache: LevelCache = empty): tf.Tensor4D {
  return tf.tidy(() => {
    const { q, k } = heads;
    const { stride } = level;
    const [batch, seq, ...head] = q.shape;
    const held = Math.floor(cache.start / stride);
    if (held === 0 && k.shape[1] < stride) return tf.zeros<tf.Rank.R4>(q.shape);
    const brought = attendBlocks(heads, level, cache);
    const rows = tf.ones<tf.Rank.R4>([batch, brought.shape[1], 1, 1]); // a cache keeps pairs; these have no other half
    const all = cache.append(`levels.${stride}.brought`, brought, rows, 1).k;
    const earlier = all.shape[1] - brought.shape[1];
    if (held > 0 && earlier === 0) checkHeld(0, level, cache);
    // Each is for the last token of its block and those after it, up to the last but one of the next block.
    const served =
      held > 0
        ? tf.slice4d(all, [0, earlier - 1, 0, 0], [-1, -1, -1, -1])
        : tf.concat4d([tf.zeros([batch, 1, ...head]), all], 1);
    return tf.slice4d(repeatRows(served, stride), [0, 1 + k.shape[1] - seq, 0, 0], [-1, seq, -1, -1]);
  });
}

/** `[batch, blocks, heads, headDim]`: what the blocks that the new tokens complete see of themselves and those before. */
function attendBlocks({ q, k, v }: Heads, level: CoarseLevel, cache: LevelCache): tf.Tensor4D {
  const { stride, scale } = level;
  const [batch, seq, ...head] = q.shape;
  const unfinished = k.shape[1] - seq;
  if (k.shape[1] < stride) return tf.zeros<tf.Rank.R4>([batch, 0, ...head]);
  const aligned = unfinished > 0 ? tf.concat4d([tf.zeros([batch, unfinished, ...head]), q], 1) : q;
  const queries = lastOfBlocks(aligned, stride);
  const blocks = cache.append(`levels.${stride}`, blockMeans(k, stride), blockMeans(v, stride));
  checkHeld(blocks.k.shape[1] - queries.shape[1], level, cache);
  return flashAttention(queries, blocks.k, blocks.v, { causal: true, scale });
}

function checkHeld(blocks: number, { stride }: CoarseLevel, { start }: LevelCache): void {
  if (blocks === Math.floor(start / stride)) return;
  throw new Error(
    `multi-level attention: cache.levels holds ${blocks} blocks of ${stride} tokens, expected ${Math.floor(start / stride)} after ${start} tokens; give every pass the same cache.`,
  );
}
