/**
 * Rotary embedding: the pairs of every head are turned by the angles of the row's position. x and y are [rows, heads,
 * headDim], the same or apart; cos and sin [positions, headDim / 2]; row r has position r % seq. Pair j lies at j and
 * j + headDim / 2, or at 2 j and 2 j + 1 where `interleaved`. `direction` -1 turns back, which is the gradient.
 */
export function rotate(
  x: usize, cos: usize, sin: usize, rows: i32, seq: i32, heads: i32, headDim: i32, direction: f32, interleaved: bool,
  y: usize,
): void {
  const half = headDim >> 1;
  for (let r = 0; r < rows; r++) {
    const angle = (<usize>((r % seq) * half)) << 2;
    for (let h = 0; h < heads; h++) {
      const base = (<usize>((r * heads + h) * headDim)) << 2;
      if (interleaved) turnNeighbours(x + base, cos + angle, sin + angle, half, direction, y + base);
      else turnHalves(x + base, cos + angle, sin + angle, half, direction, y + base);
    }
  }
}

function turnHalves(x: usize, cos: usize, sin: usize, half: i32, direction: f32, y: usize): void {
  const halfBytes = (<usize>half) << 2;
  const turn = f32x4.splat(direction);
  let j = 0;
  for (; j + 4 <= half; j += 4) {
    const o = (<usize>j) << 2;
    const c = v128.load(cos + o);
    const s = f32x4.mul(turn, v128.load(sin + o));
    const a = v128.load(x + o);
    const b = v128.load(x + halfBytes + o);
    v128.store(y + o, f32x4.sub(f32x4.mul(a, c), f32x4.mul(b, s)));
    v128.store(y + halfBytes + o, f32x4.add(f32x4.mul(b, c), f32x4.mul(a, s)));
  }
  for (; j < half; j++) {
    const o = (<usize>j) << 2;
    turnPair(x + o, x + halfBytes + o, load<f32>(cos + o), direction * load<f32>(sin + o), y + o, y + halfBytes + o);
  }
}

function turnNeighbours(x: usize, cos: usize, sin: usize, half: i32, direction: f32, y: usize): void {
  const turn = f32x4.splat(direction);
  let j = 0;
  for (; j + 4 <= half; j += 4) {
    const o = (<usize>j) << 2;
    const c = v128.load(cos + o);
    const s = f32x4.mul(turn, v128.load(sin + o));
    const left = v128.load(x + 2 * o);
    const right = v128.load(x + 2 * o, 16);
    const a = v128.shuffle<f32>(left, right, 0, 2, 4, 6);
    const b = v128.shuffle<f32>(left, right, 1, 3, 5, 7);
    const first = f32x4.sub(f32x4.mul(a, c), f32x4.mul(b, s));
    const second = f32x4.add(f32x4.mul(b, c), f32x4.mul(a, s));
    v128.store(y + 2 * o, v128.shuffle<f32>(first, second, 0, 4, 1, 5));
    v128.store(y + 2 * o, v128.shuffle<f32>(first, second, 2, 6, 3, 7), 16);
  }
  for (; j < half; j++) {
    const o = (<usize>j) << 2;
    const at = x + 2 * o;
    turnPair(at, at + 4, load<f32>(cos + o), direction * load<f32>(sin + o), y + 2 * o, y + 2 * o + 4);
  }
}

// @ts-ignore: decorator
@inline
function turnPair(a: usize, b: usize, cos: f32, sin: f32, first: usize, second: usize): void {
  const left = load<f32>(a);
  const right = load<f32>(b);
  store<f32>(first, left * cos - right * sin);
  store<f32>(second, right * cos + left * sin);
}
