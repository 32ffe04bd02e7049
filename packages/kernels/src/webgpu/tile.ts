/** Output columns of one workgroup's tile: 16 lanes of four, so that half a warp reads one line of the right tile. */
export const COLUMNS = 64;

/** Steps of the inner dimension between two barriers: both tiles then take 9 of the 16 KiB that every device has. */
const DEPTH = 16;

/** How a workgroup divides its tile: each thread computes `fours` times four of its `rows`, beside four columns. */
export interface TileShape {
  readonly rows: number;
  readonly fours: number;
}

/** 8 x 4 outputs a thread: three reads of workgroup memory for 32 multiply-adds. */
export const TALL: TileShape = { rows: 64, fours: 2 };

/** For experts with few rows each, as in decoding, where most of a tall tile would be multiplied for nothing. */
export const SHORT: TileShape = { rows: 16, fours: 1 };

/** Where neighbours of an operand at one depth lie: side by side in memory, or one below the other. */
export type Layout = 'across' | 'down';

/** The WGSL of one tile of a product, for kernels that say where its operands lie. */
export interface TileCode {
  readonly threads: number;
  /** Declarations at module scope. */
  readonly memory: string;
  /**
   * Statements of `main`. They read `l`, the thread's number, and `steps`, the uniform length of the inner dimension; they
   * call `left(row, k)` and `right(column, k)`, which give an element and zero outside, then `store(row, column, sum)`.
   */
  readonly body: string;
}

/** A tile in workgroup memory and registers (after Volkov and Demmel 2008), unrolled so that the sums stay registers. */
export function tileProduct({ rows, fours }: TileShape, left: Layout, right: Layout): TileCode {
  const [leftLanes, rightLanes] = [rows / 4, COLUMNS / 4];
  const lines = leftLanes / fours; // of threads; also the distance between the fours of one thread
  const threads = lines * rightLanes;
  const each = Array.from({ length: fours }, (_, f) => f);
  const sums = each.flatMap((f) => [0, 1, 2, 3].map((i) => ({ name: `sum${4 * f + i}`, f, i })));
  const columns = [0, 1, 2, 3];
  return {
    threads,
    // One more lane a line than needed, so that neighbouring lines begin in other banks.
    memory: `
var<workgroup> lefts: array<vec4f, ${DEPTH * (leftLanes + 1)}>;
var<workgroup> rights: array<vec4f, ${DEPTH * (rightLanes + 1)}>;`,
    body: `
  let lane = l % ${rightLanes}u;
  let line = l / ${rightLanes}u;
  ${sums.map(({ name }) => `var ${name} = vec4f(0);`).join(' ')}
  for (var at = 0u; at < steps; at += ${DEPTH}u) {
    ${fill('left', left, leftLanes, threads)}
    ${fill('right', right, rightLanes, threads)}
    workgroupBarrier();
    for (var k = 0u; k < ${DEPTH}u; k++) {
      let b = rights[k * ${rightLanes + 1}u + lane];
      ${each.map((f) => `let a${f} = lefts[k * ${leftLanes + 1}u + line + ${f * lines}u];`).join(' ')}
      ${sums.map(({ name, f, i }) => `${name} = fma(vec4f(a${f}[${i}]), b, ${name});`).join('\n      ')}
    }
    workgroupBarrier();
  }
  ${sums
    .flatMap(({ name, f, i }) =>
      columns.map((j) => `store(4u * (line + ${f * lines}u) + ${i}u, 4u * lane + ${j}u, ${name}[${j}]);`),
    )
    .join('\n  ')}`,
  };
}

/** Neighbouring threads read neighbouring numbers: along the lanes where these lie across, else along the depth. */
function fill(side: 'left' | 'right', layout: Layout, lanes: number, threads: number): string {
  const [lane, k] = layout === 'across' ? [`i % ${lanes}u`, `i / ${lanes}u`] : [`i / ${DEPTH}u`, `i % ${DEPTH}u`];
  return `for (var i = l; i < ${DEPTH * lanes}u; i += ${threads}u) {
      let n = 4u * (${lane});
      let k = ${k};
      ${side}s[k * ${lanes + 1}u + ${lane}] = vec4f(
        ${side}(n, at + k), ${side}(n + 1u, at + k), ${side}(n + 2u, at + k), ${side}(n + 3u, at + k),
      );
    }`;
}
