/**
 * A text as it is measured: windows of the same length that start one block after the other. Window `w` has block
 * `w + p` at position `p`, so each block from the one that ends the first window to the one that starts the last is
 * scored at every position. Only these are counted: what a position costs is then of the same tokens as what any other costs.
 *
 * @typedef {object} Stretch
 * @property {Int32Array[]} windows each `[length + 1]`: inputs, and the target of the last one.
 * @property {{ first: number, last: number, bytes: number }} counted the blocks, and the UTF-8 bytes of their targets.
 */

/**
 * Cuts a text into windows. As in training, an end-of-text token stands before it and a window may start anywhere.
 *
 * @param {import('therapeutic-moe').tokenizer.Tokenizer} tokenizer
 * @param {string} text
 * @param {{ positions: number, block: number, most: number }} options blocks of a window, tokens of a block, and the
 *   most windows.
 * @returns {Stretch | undefined} undefined where the text is too short for one counted block.
 */
export function stretchOf(tokenizer, text, { positions, block, most }) {
  const ids = Int32Array.from([tokenizer.eosTokenId, ...tokenizer.encode(text)]);
  const count = Math.min(most, Math.floor((ids.length - 1) / block) - positions + 1);
  if (count < positions) return undefined;
  const windows = Array.from({ length: count }, (_, w) => ids.subarray(w * block, (w + positions) * block + 1));
  const [first, last] = [positions - 1, count - 1];
  const targets = ids.subarray(first * block + 1, (last + 1) * block + 1);
  const bytes = targets.reduce((sum, id) => sum + tokenizer.tokenBytes(id).length, 0);
  return { windows, counted: { first, last, bytes } };
}

/**
 * What the counted blocks cost at each position.
 *
 * @param {number[][]} nats `[windows][positions]`.
 * @returns {number[]} `[positions]`.
 */
export function natsByPosition(nats, { first, last }) {
  return nats[0].map((_, position) => {
    let sum = 0;
    for (let block = first; block <= last; block++) sum += nats[block - position][position];
    return sum;
  });
}
