import type { BlockPlace } from '../write-block.js';
import { inPlace } from './in-place.js';
import type { Operands } from './operands.js';
import { FLOAT, type Handle, INT32, type RawOps } from './raw-ops.js';

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

  ops.register(
    'WriteBlock',
    ({ target, block }, { matrix, row, column, transposed }: BlockPlace & { transposed: boolean }) => {
      const given = ops.read(block!);
      const fresh = transposed ? ops.transpose(given, [1, 0]) : given;
      const [height, width] = fresh.shape as [number, number];
      const stack = target!.shape.slice(0, -2);
      const at = placeInStack(matrix, stack);
      inPlace(ops, [target!], ([variable]) => {
        const begin = ops.int32([...at, row, column]);
        const end = ops.int32([...at.map((one) => one + 1), row + height, column + width]);
        const value = stack.length === 0 ? fresh : ops.reshape(fresh, [...stack.map(() => 1), height, width]);
        const inputs = [variable!, begin, end, ops.int32(target!.shape.map(() => 1)), value];
        ops.runMany('ResourceStridedSliceAssign', inputs, [ops.type('T', FLOAT), ops.type('Index', INT32)], 0);
        ops.runMany('DisableCopyOnRead', [variable!], [], 0);
      });
      operands.forget(target!.dataId);
      return [];
    },
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

/** The number of a matrix as one index for each leading dimension. */
function placeInStack(matrix: number, stack: readonly number[]): number[] {
  let rest = matrix;
  return [...stack]
    .reverse()
    .map((size) => {
      const index = rest % size;
      rest = Math.floor(rest / size);
      return index;
    })
    .reverse();
}

/** Rows by number; zeros where the number is one past the last, which a `complete` plan never has. */
function take(ops: RawOps, x: Handle, indices: Handle, complete: boolean): Handle {
  return ops.gather(complete ? x : ops.concat([x, ops.fill([1, x.shape[1]!], 0)], 0), indices);
}
