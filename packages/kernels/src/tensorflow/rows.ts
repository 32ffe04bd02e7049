import type { Handle, RawOps } from './raw-ops.js';

/** Rows by number, and the combine step of a Mixture of Experts. */
export function installRows(ops: RawOps): void {
  ops.register('TakeRows', ({ x, indices }) => ops.tensor(take(ops, ops.read(x!), ops.read(indices!), false)));

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

/** Rows by number; zeros where the number is one past the last, which a `complete` plan never has. */
function take(ops: RawOps, x: Handle, indices: Handle, complete: boolean): Handle {
  return ops.gather(complete ? x : ops.concat([x, ops.fill([1, x.shape[1]!], 0)], 0), indices);
}
