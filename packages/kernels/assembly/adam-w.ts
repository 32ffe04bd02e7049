import { madd, sumLanes } from './vector';

/**
 * One AdamW step in place (arXiv:1711.05101): the gradient is scaled first, then the moments are updated and the
 * parameter becomes p * decay - rate * m / (sqrt(v) * inverseRoot + epsilon), where `rate` carries the first bias
 * correction and `inverseRoot` = 1 / sqrt(1 - beta2^step) the second.
 */
export function adamW(
  parameter: usize, gradient: usize, first: usize, second: usize, n: i32,
  rate: f32, beta1: f32, beta2: f32, epsilon: f32, decay: f32, inverseRoot: f32, gradientScale: f32,
): void {
  const scale = f32x4.splat(gradientScale);
  const b1 = f32x4.splat(beta1);
  const c1 = f32x4.splat(1 - beta1);
  const b2 = f32x4.splat(beta2);
  const c2 = f32x4.splat(1 - beta2);
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    const o = (<usize>i) << 2;
    const g = f32x4.mul(v128.load(gradient + o), scale);
    const m = madd(c1, g, f32x4.mul(b1, v128.load(first + o)));
    const v = madd(c2, f32x4.mul(g, g), f32x4.mul(b2, v128.load(second + o)));
    v128.store(first + o, m);
    v128.store(second + o, v);
    const denominator = f32x4.add(f32x4.mul(f32x4.sqrt(v), f32x4.splat(inverseRoot)), f32x4.splat(epsilon));
    const moved = f32x4.div(f32x4.mul(f32x4.splat(rate), m), denominator);
    v128.store(parameter + o, f32x4.sub(f32x4.mul(v128.load(parameter + o), f32x4.splat(decay)), moved));
  }
  for (; i < n; i++) {
    const o = (<usize>i) << 2;
    const g = load<f32>(gradient + o) * gradientScale;
    const m = beta1 * load<f32>(first + o) + (1 - beta1) * g;
    const v = beta2 * load<f32>(second + o) + (1 - beta2) * g * g;
    store<f32>(first + o, m);
    store<f32>(second + o, v);
    store<f32>(parameter + o, load<f32>(parameter + o) * decay - (rate * m) / (sqrt<f32>(v) * inverseRoot + epsilon));
  }
}

/** Writes the float64 sum of x^2 over n floats to `out`; float64 between blocks, so that long vectors lose nothing. */
export function sumOfSquares(x: usize, n: i32, out: usize): void {
  let total: f64 = 0;
  let i = 0;
  while (i + 4 <= n) {
    const end = min(n - 3, i + 4096);
    let lanes = f32x4.splat(0);
    for (; i < end; i += 4) {
      const value = v128.load(x + ((<usize>i) << 2));
      lanes = madd(value, value, lanes);
    }
    total += <f64>sumLanes(lanes);
  }
  for (; i < n; i++) {
    const value = load<f32>(x + ((<usize>i) << 2));
    total += <f64>(value * value);
  }
  store<f64>(out, total);
}

/** Sum of n float64, in their order. */
export function sumDoubles(x: usize, n: i32): f64 {
  let total: f64 = 0;
  for (let i = 0; i < n; i++) total += load<f64>(x + ((<usize>i) << 3));
  return total;
}
