/** Part of a row of equal things. */
export interface Range {
  readonly first: number;
  readonly count: number;
}

/** Cuts `total` things into ranges of `size`; the last one has the rest. */
export function ranges(total: number, size: number): Range[] {
  return Array.from({ length: Math.ceil(total / size) }, (_, i) => ({
    first: i * size,
    count: Math.min(size, total - i * size),
  }));
}

/** Multiply-adds of a block, about half a millisecond, so that a thread that is held up holds up little. */
const BLOCK_WORK = 1 << 24;
/** Side of a block below which packing its operands again costs more than the cut gives. */
const LEAST_SIDE = 128;
/** Both are multiples of the register tile, so only the last block has edges. */
const TILE = 8;

/** The blocks of a product [m, k] x [k, n] that may be computed apart, from its sizes alone. */
export function productBlocks(m: number, n: number, k: number): { rows: Range; columns: Range }[] {
  let [rowSize, columnSize] = [m, n];
  while (rowSize * columnSize * k > BLOCK_WORK && Math.max(rowSize, columnSize) > LEAST_SIDE) {
    if (rowSize > columnSize) rowSize = half(rowSize);
    else columnSize = half(columnSize);
  }
  return ranges(m, rowSize).flatMap((rows) => ranges(n, columnSize).map((columns) => ({ rows, columns })));
}

function half(size: number): number {
  return Math.ceil(size / 2 / TILE) * TILE;
}
