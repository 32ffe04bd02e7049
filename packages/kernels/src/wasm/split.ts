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

/** Values that one call of a row-wise kernel reads: some 100 microseconds, and little enough for the second cache. */
export const CALL_VALUES = 1 << 16;
/** Multiply-adds that take as long as moving one value. */
export const MOVE = 8;

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

/** A single row waits for memory: one of its multiply-adds takes as long as some six of a product of many rows. */
export const STREAM = 6;

/** Values that one call streams from memory, some 100 microseconds. */
const STREAM_VALUES = 1 << 18;
/** Columns below which the pieces of a row are too short to stream. */
const LEAST_STRIP = 256;

/** How many columns of a right-hand side with `k` rows one call streams past a single row. */
export function stripWidth(k: number): number {
  return Math.max(LEAST_STRIP, Math.ceil(STREAM_VALUES / k / TILE) * TILE);
}

function half(size: number): number {
  return Math.ceil(size / 2 / TILE) * TILE;
}
