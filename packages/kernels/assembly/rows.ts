import { dot, madd } from './vector';

/** out[i] = x[indices[i]], rows of `width` bytes. Returns the position of the first index outside [0, rows), or -1. */
export function gatherRows(x: usize, rows: i32, width: i32, indices: usize, count: i32, out: usize): i32 {
  for (let i = 0; i < count; i++) {
    const row = load<i32>(indices + ((<usize>i) << 2));
    if (<u32>row >= <u32>rows) return i;
    memory.copy(out + <usize>i * <usize>width, x + <usize>row * <usize>width, <usize>width);
  }
  return -1;
}

/** out[indices[i]] += x[i], rows of `width` floats; `out` is cleared first. Indices outside [0, rows) are left out. */
export function scatterAddRows(x: usize, count: i32, width: i32, indices: usize, out: usize, rows: i32): void {
  const bytes = (<usize>width) << 2;
  memory.fill(out, 0, <usize>rows * bytes);
  for (let i = 0; i < count; i++) {
    const row = load<i32>(indices + ((<usize>i) << 2));
    if (<u32>row < <u32>rows) addScaled(out + <usize>row * bytes, x + <usize>i * bytes, 1, width);
  }
}

// @ts-ignore: decorator
@inline
function addScaled(target: usize, source: usize, scale: f32, n: i32): void {
  const s = f32x4.splat(scale);
  let j = 0;
  for (; j + 4 <= n; j += 4) {
    const o = (<usize>j) << 2;
    v128.store(target + o, madd(s, v128.load(source + o), v128.load(target + o)));
  }
  for (; j < n; j++) {
    const o = (<usize>j) << 2;
    store<f32>(target + o, load<f32>(target + o) + scale * load<f32>(source + o));
  }
}

// @ts-ignore: decorator
@inline
function copyScaled(target: usize, source: usize, scale: f32, n: i32): void {
  const s = f32x4.splat(scale);
  let j = 0;
  for (; j + 4 <= n; j += 4) {
    const o = (<usize>j) << 2;
    v128.store(target + o, f32x4.mul(s, v128.load(source + o)));
  }
  for (; j < n; j++) {
    const o = (<usize>j) << 2;
    store<f32>(target + o, scale * load<f32>(source + o));
  }
}

/** out[i] = x[indices[i]], rows of `width` floats; zeros where the index is outside [0, rows). */
export function takeRows(x: usize, rows: i32, width: i32, indices: usize, count: i32, out: usize): void {
  const bytes = (<usize>width) << 2;
  for (let i = 0; i < count; i++) {
    const row = load<i32>(indices + ((<usize>i) << 2));
    const target = out + <usize>i * bytes;
    if (<u32>row < <u32>rows) memory.copy(target, x + <usize>row * bytes, bytes);
    else memory.fill(target, 0, bytes);
  }
}

/**
 * out[t] = sum over j of weights[t, j] * x[slots[t, j]]; rows of `width` floats; `weights` 0 means all ones; a slot
 * outside [0, rows) adds nothing.
 */
export function combineRows(
  x: usize, rows: i32, width: i32, slots: usize, weights: usize, tokens: i32, k: i32, out: usize,
): void {
  const bytes = (<usize>width) << 2;
  for (let t = 0; t < tokens; t++) {
    const target = out + <usize>t * bytes;
    let empty = true;
    for (let j = 0; j < k; j++) {
      const entry = (<usize>(t * k + j)) << 2;
      const slot = load<i32>(slots + entry);
      if (<u32>slot >= <u32>rows) continue;
      const source = x + <usize>slot * bytes;
      const weight = weights ? load<f32>(weights + entry) : <f32>1;
      if (empty) copyScaled(target, source, weight, width);
      else addScaled(target, source, weight, width);
      empty = false;
    }
    if (empty) memory.fill(target, 0, bytes);
  }
}

/**
 * dx[slots[t, j]] = weights[t, j] * dy[t]; dWeights[t, j] = x[slots[t, j]] . dy[t]. Every slot is visited at most once;
 * one outside [0, rows) gets no gradient.
 */
export function combineRowsGradient(
  dy: usize, x: usize, rows: i32, width: i32, slots: usize, weights: usize, tokens: i32, k: i32,
  dx: usize, dWeights: usize,
): void {
  const bytes = (<usize>width) << 2;
  for (let t = 0; t < tokens; t++) {
    const grad = dy + <usize>t * bytes;
    for (let j = 0; j < k; j++) {
      const entry = (<usize>(t * k + j)) << 2;
      const slot = load<i32>(slots + entry);
      if (<u32>slot >= <u32>rows) {
        store<f32>(dWeights + entry, 0);
        continue;
      }
      const row = <usize>slot * bytes;
      copyScaled(dx + row, grad, load<f32>(weights + entry), width);
      store<f32>(dWeights + entry, dot(x + row, grad, width));
    }
  }
}

/** out [width] = sum of `rows` rows of `width` floats, in the order of the rows. */
export function sumRows(x: usize, rows: i32, width: i32, out: usize): void {
  const bytes = (<usize>width) << 2;
  memory.fill(out, 0, bytes);
  for (let i = 0; i < rows; i++) addScaled(out, x + <usize>i * bytes, 1, width);
}
