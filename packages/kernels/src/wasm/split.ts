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

/** Multiply-adds of the least block, about a third of a millisecond, so that what a slow thread holds up is little. */
const LEAST_WORK = 1 << 24;
/** Blocks of a large product: enough for several threads to end together. */
const BLOCKS = 16;
/** Side of a block below which packing its operands again costs more than the cut gives. */
const LEAST_SIDE = 128;
/** Both sides are multiples of the register tile, so only the last block has edges. */
const TILE = 8;

/**
 * The blocks of a product [m, k] x [k, n] that may be computed apart. They follow from the sizes alone, and the sum
 * over k is never cut, so every number of threads gives the same bits.
 *
 * @param total multiply-adds of all products that are computed together.
 */
export function productBlocks(m: number, n: number, k: number, total: number): { rows: Range; columns: Range }[] {
  const work = Math.max(LEAST_WORK, total / BLOCKS);
  let [rowSize, columnSize] = [m, n];
  while (rowSize * columnSize * k > work && Math.max(rowSize, columnSize) > LEAST_SIDE) {
    if (rowSize > columnSize) rowSize = half(rowSize);
    else columnSize = half(columnSize);
  }
  return ranges(m, rowSize).flatMap((rows) => ranges(n, columnSize).map((columns) => ({ rows, columns })));
}

function half(size: number): number {
  return Math.ceil(size / 2 / TILE) * TILE;
}
