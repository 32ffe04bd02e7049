/**
 * Rotary embedding in the half-split layout: pairs (i, i + headDim / 2) of every head are turned by the angle of the
 * row's position. x and y are [rows, heads, headDim]; cos and sin [positions, headDim / 2]; row r has position r % seq.
 * `direction` -1 turns back, which is the gradient.
 */
export function rotate(
  x: usize, cos: usize, sin: usize, rows: i32, seq: i32, heads: i32, headDim: i32, direction: f32, y: usize,
): void {
  const half = headDim >> 1;
  const halfBytes = (<usize>half) << 2;
  const turn = f32x4.splat(direction);
  for (let r = 0; r < rows; r++) {
    const angle = <usize>(r % seq) * halfBytes;
    for (let h = 0; h < heads; h++) {
      const base = (<usize>((r * heads + h) * headDim)) << 2;
      let j = 0;
      for (; j + 4 <= half; j += 4) {
        const o = (<usize>j) << 2;
        const c = v128.load(cos + angle + o);
        const s = f32x4.mul(turn, v128.load(sin + angle + o));
        const a = v128.load(x + base + o);
        const b = v128.load(x + base + halfBytes + o);
        v128.store(y + base + o, f32x4.sub(f32x4.mul(a, c), f32x4.mul(b, s)));
        v128.store(y + base + halfBytes + o, f32x4.add(f32x4.mul(b, c), f32x4.mul(a, s)));
      }
      for (; j < half; j++) {
        const o = (<usize>j) << 2;
        const c = load<f32>(cos + angle + o);
        const s = direction * load<f32>(sin + angle + o);
        const a = load<f32>(x + base + o);
        const b = load<f32>(x + base + halfBytes + o);
        store<f32>(y + base + o, a * c - b * s);
        store<f32>(y + base + halfBytes + o, b * c + a * s);
      }
    }
  }
}
