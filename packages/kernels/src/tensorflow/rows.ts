import type * as tf from '@tensorflow/tfjs-core';
import type { BlockPlace, HalvesPlace } from '../write-block.js';
import { inPlace } from './in-place.js';
import type { Operands } from './operands.js';
import { BFLOAT16, FLOAT, HALF, type Handle, INT32, type RawOps } from './raw-ops.js';

/** Rows by number, writing in place, and the combine step of a Mixture of Experts. */
export function installRows(ops: RawOps, operands: Operands): void {
  ops.register('TakeRows', ({ x, indices }) => ops.tensor(take(ops, ops.read(x!), ops.read(indices!), false)));

  ops.register('WriteRows', ({ target, rows }, { starts }: { starts: number[] }) => {
    const seq = rows!.shape[1]!;
    const fresh = ops.read(rows!);
    const items = starts.length === 1 ? [fresh] : ops.splitV(fresh, new Array(starts.length).fill(1), 0);
    inPlace(ops, [target!], ([variable]) => {
      for (const [item, start] of starts.entries()) {
        const [begin, end] = [ops.int32([item, start]), ops.int32([item + 1, start + seq])];
        const inputs = [variable!, begin, end, ops.int32([1, 1]), items[item]!];
        ops.runMany('ResourceStridedSliceAssign', inputs, [ops.type('T', fresh.dtype), ops.type('Index', INT32)], 0);
      }
      ops.runMany('DisableCopyOnRead', [variable!], [], 0); // else it is copied where it is read after such writing
    });
    operands.forget(target!.dataId);
    return [];
  });

  ops.register('WriteBlock', ({ target, block }, place: BlockPlace & { transposed: boolean }) => {
    const given = ops.read(block!);
    writeInPlace(ops, target!, place.transposed ? ops.transpose(given, [1, 0]) : given, place);
    operands.forget(target!.dataId);
    return [];
  });

  ops.register('WriteHalves', ({ target, words }, place: HalvesPlace) => {
    const given = halves(ops, ops.read(words!), place);
    const turned = place.transposed ? ops.transpose(given, [1, 0]) : given;
    writeInPlace(ops, target!, ops.cast(turned, FLOAT), place);
    operands.forget(target!.dataId);
    return [];
  });

  ops.register('Unfilled', (_, { shape }: { shape: number[] }) =>
    ops.tensor(ops.run('Empty', [ops.int32(shape)], [ops.type('dtype', FLOAT), ops.bool('init', false)])),
  );

  ops.register('CombineRows', ({ rows, weights, rowOfChoice }, { complete }: { complete: boolean }) => {
    const [tokens, k] = rowOfChoice!.shape as [number, number];
    const choices = take(ops, ops.read(rows!), ops.read(rowOfChoice!), complete); // [tokens, k, hidden]
    const scaled = weights ? ops.mul(choices, ops.reshape(ops.read(weights), [tokens, k, 1])) : choices;
    return ops.tensor(ops.reshape(ops.reduce('Sum', scaled, 1), [tokens, rows!.shape[1]!]));
  });

  ops.register('CombineRowsGradient', (inputs, { complete }: { complete: boolean }) => {
    const { dy, rows, weights, rowOfChoice, tokenOfRow, choiceOfRow } = inputs;
    const shares = ops.reshape(ops.read(weights!), [-1, 1]);
    const gradient = take(ops, ops.read(dy!), ops.read(tokenOfRow!), complete); // of each row, before its weight
    const dRows = ops.mul(gradient, take(ops, shares, ops.read(choiceOfRow!), complete));
    const along = ops.reduce('Sum', ops.mul(gradient, ops.read(rows!)), 1); // [rows, 1]
    const dWeights = take(ops, along, ops.read(rowOfChoice!), complete); // [tokens, k, 1]
    return [ops.tensor(dRows), ops.tensor(ops.reshape(dWeights, rowOfChoice!.shape))];
  });
}

/** The 16-bit floats that lie two to an int32, without a copy where they are even in number. */
function halves(ops: RawOps, words: Handle, { shape: [height, width], bfloat16 }: HalvesPlace): Handle {
  const pairs = ops.bitcast(words, bfloat16 ? BFLOAT16 : HALF); // [words, 2]
  const [count, held] = [height * width, 2 * pairs.shape[0]!];
  const all = ops.reshape(pairs, [held]);
  return ops.reshape(count === held ? all : ops.splitV(all, [count, held - count], 0)[0]!, [height, width]);
}

function writeInPlace(ops: RawOps, target: tf.TensorInfo, fresh: Handle, place: BlockPlace): void {
  const [height, width] = fresh.shape as [number, number];
  // As rows so narrow that the block is whole ones: moving rows takes a tenth of the time of a strided assignment.
  const { grain, indices } = narrowRows(target.shape, place, height, width);
  const updates = ops.reshape(fresh, [indices.length, grain]);
  const attributes = [ops.type('dtype', FLOAT), ops.type('Tindices', INT32)];
  inPlace(
    ops,
    [target],
    ([variable]) => {
      ops.runMany('ResourceScatterUpdate', [variable!, ops.int32s(indices), updates], attributes, 0);
      ops.runMany('DisableCopyOnRead', [variable!], [], 0);
    },
    [-1, grain],
  );
}

/** The widest rows that a block is made of whole ones of, in a stack of matrices seen as such rows, and their numbers. */
function narrowRows(
  shape: readonly number[],
  { matrix, row, column }: BlockPlace,
  height: number,
  width: number,
): { grain: number; indices: Int32Array } {
  const [rows, columns] = shape.slice(-2) as [number, number];
  const grain = commonDivisor(columns, commonDivisor(column, width));
  const [perRow, perLine] = [width / grain, columns / grain];
  const first = (matrix * rows + row) * perLine + column / grain;
  const indices = new Int32Array(height * perRow);
  for (let i = 0; i < height; i++) {
    for (let j = 0; j < perRow; j++) indices[i * perRow + j] = first + i * perLine + j;
  }
  return { grain, indices };
}

function commonDivisor(a: number, b: number): number {
  return b === 0 ? a : commonDivisor(b, a % b);
}

/** Rows by number; zeros where the number is one past the last, which a `complete` plan never has. */
function take(ops: RawOps, x: Handle, indices: Handle, complete: boolean): Handle {
  return ops.gather(complete ? x : ops.concat([x, ops.fill([1, x.shape[1]!], 0)], 0), indices);
}
