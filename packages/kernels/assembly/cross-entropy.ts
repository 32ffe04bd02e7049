/** Natural logarithm of the host: AssemblyScript's own brings lookup tables, and this module must own no memory. */
// @ts-ignore: decorator
@external('env', 'log')
declare function log(x: f64): f64;

import { exp1, exp4, max4, maxLanes, sumLanes } from './vector';

/**
 * losses[i] = logsumexp(logits[i]) - logits[i, targets[i]]; where `dy` is given, gradient[i] = dy[i] *
 * (softmax(logits[i]) - onehot(targets[i])). A negative target is not counted: its loss and its gradient row are zero.
 * `dy` and `gradient` are 0 when only the losses are wanted.
 */
export function crossEntropy(
  logits: usize, targets: usize, rows: i32, vocab: i32, losses: usize, dy: usize, gradient: usize,
): void {
  const bytes = (<usize>vocab) << 2;
  for (let i = 0; i < rows; i++) {
    const source = logits + <usize>i * bytes;
    const grad = gradient + <usize>i * bytes;
    const target = load<i32>(targets + ((<usize>i) << 2));
    if (target < 0) {
      if (losses) store<f32>(losses + ((<usize>i) << 2), 0);
      if (dy) memory.fill(grad, 0, bytes);
      continue;
    }
    let lanes = f32x4.splat(-f32.MAX_VALUE);
    let j = 0;
    for (; j + 4 <= vocab; j += 4) lanes = max4(lanes, v128.load(source + ((<usize>j) << 2)));
    let top = maxLanes(lanes);
    for (; j < vocab; j++) top = max(top, load<f32>(source + ((<usize>j) << 2)));
    const tops = f32x4.splat(top);
    let total = f32x4.splat(0);
    j = 0;
    for (; j + 4 <= vocab; j += 4) {
      const o = (<usize>j) << 2;
      const e = exp4(f32x4.sub(v128.load(source + o), tops));
      if (dy) v128.store(grad + o, e);
      total = f32x4.add(total, e);
    }
    let sum = sumLanes(total);
    for (; j < vocab; j++) {
      const o = (<usize>j) << 2;
      const e = exp1(load<f32>(source + o) - top);
      if (dy) store<f32>(grad + o, e);
      sum += e;
    }
    const chosen = (<usize>target) << 2;
    if (losses) store<f32>(losses + ((<usize>i) << 2), top + <f32>log(<f64>sum) - load<f32>(source + chosen));
    if (!dy) continue;
    const outer = load<f32>(dy + ((<usize>i) << 2));
    const scale = outer / sum;
    const scales = f32x4.splat(scale);
    j = 0;
    for (; j + 4 <= vocab; j += 4) {
      const o = (<usize>j) << 2;
      v128.store(grad + o, f32x4.mul(v128.load(grad + o), scales));
    }
    for (; j < vocab; j++) {
      const o = (<usize>j) << 2;
      store<f32>(grad + o, load<f32>(grad + o) * scale);
    }
    store<f32>(grad + chosen, load<f32>(grad + chosen) - outer);
  }
}
