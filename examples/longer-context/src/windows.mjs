/**
 * A stretch of a text as the model reads it.
 *
 * @typedef {object} Window
 * @property {number} text which text of the set it is from.
 * @property {Int32Array} ids `[length + 1]`: inputs, and the target of the last one.
 * @property {Int32Array} bytes `[length]`: UTF-8 bytes of each target.
 */

/**
 * Windows of exactly `length` targets that start every `stride` tokens of each text, so that most tokens are scored at
 * several positions. As in training, an end-of-text token stands before each text and a window may start in the middle.
 *
 * @param {import('therapeutic-moe').tokenizer.Tokenizer} tokenizer
 * @param {string[]} texts
 * @param {{ length: number, stride: number, most: number }} options where there are more than `most`, evenly taken.
 * @returns {Window[]}
 */
export function windowsOf(tokenizer, texts, { length, stride, most }) {
  const all = texts.flatMap((content, text) => {
    const ids = Int32Array.from([tokenizer.eosTokenId, ...tokenizer.encode(content)]);
    const starts = Array.from({ length: countWindows(ids.length, length, stride) }, (_, i) => i * stride);
    return starts.map((start) => toWindow(tokenizer, text, ids.subarray(start, start + length + 1)));
  });
  return takeEvenly(all, most);
}

const countWindows = (tokens, length, stride) => Math.max(0, Math.floor((tokens - length - 1) / stride) + 1);

function toWindow(tokenizer, text, ids) {
  return { text, ids, bytes: ids.slice(1).map((id) => tokenizer.tokenBytes(id).length) };
}

function takeEvenly(items, most) {
  if (items.length <= most) return items;
  return Array.from({ length: most }, (_, i) => items[Math.floor((i * items.length) / most)]);
}
