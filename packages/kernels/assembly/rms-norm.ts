import { dot } from './vector';

// @ts-ignore: decorator
@inline
function inverseRms(x: usize, width: i32, epsilon: f32): f32 {
  return <f32>1 / sqrt<f32>(dot(x, x, width) / <f32>width + epsilon);
}

/** y = x / sqrt(mean(x^2) + epsilon) * weight, row by row. */
export function rmsNorm(x: usize, weight: usize, rows: i32, width: i32, epsilon: f32, y: usize): void {
  const bytes = (<usize>width) << 2;
  for (let i = 0; i < rows; i++) {
    const source = x + <usize>i * bytes;
    const target = y + <usize>i * bytes;
    const r = inverseRms(source, width, epsilon);
    const scale = f32x4.splat(r);
    let j = 0;
    for (; j + 4 <= width; j += 4) {
      const o = (<usize>j) << 2;
      v128.store(target + o, f32x4.mul(f32x4.mul(v128.load(source + o), scale), v128.load(weight + o)));
    }
    for (; j < width; j++) {
      const o = (<usize>j) << 2;
      store<f32>(target + o, load<f32>(source + o) * r * load<f32>(weight + o));
    }
  }
}

/** dx = r * (w dy - x * r^2 * mean(w dy x)); dWeight = sum over rows of dy * x * r. */
export function rmsNormGradient(
  dy: usize, x: usize, weight: usize, rows: i32, width: i32, epsilon: f32, dx: usize, dWeight: usize,
): void {
  const bytes = (<usize>width) << 2;
  memory.fill(dWeight, 0, bytes);
  for (let i = 0; i < rows; i++) {
    const source = x + <usize>i * bytes;
    const grad = dy + <usize>i * bytes;
    const target = dx + <usize>i * bytes;
    const r = inverseRms(source, width, epsilon);
    let lanes = f32x4.splat(0);
    let j = 0;
    for (; j + 4 <= width; j += 4) {
      const o = (<usize>j) << 2;
      const product = f32x4.mul(v128.load(grad + o), v128.load(source + o));
      v128.store(dWeight + o, f32x4.add(v128.load(dWeight + o), f32x4.mul(product, f32x4.splat(r))));
      lanes = f32x4.add(lanes, f32x4.mul(product, v128.load(weight + o)));
    }
    let sum =
      f32x4.extract_lane(lanes, 0) + f32x4.extract_lane(lanes, 1) + f32x4.extract_lane(lanes, 2) + f32x4.extract_lane(lanes, 3);
    for (; j < width; j++) {
      const o = (<usize>j) << 2;
      const product = load<f32>(grad + o) * load<f32>(source + o);
      store<f32>(dWeight + o, load<f32>(dWeight + o) + product * r);
      sum += product * load<f32>(weight + o);
    }
    const back = (sum * r * r) / <f32>width;
    const rs = f32x4.splat(r);
    const backs = f32x4.splat(back);
    j = 0;
    for (; j + 4 <= width; j += 4) {
      const o = (<usize>j) << 2;
      const direct = f32x4.mul(v128.load(weight + o), v128.load(grad + o));
      v128.store(target + o, f32x4.mul(rs, f32x4.sub(direct, f32x4.mul(backs, v128.load(source + o)))));
    }
    for (; j < width; j++) {
      const o = (<usize>j) << 2;
      store<f32>(target + o, r * (load<f32>(weight + o) * load<f32>(grad + o) - back * load<f32>(source + o)));
    }
  }
}
