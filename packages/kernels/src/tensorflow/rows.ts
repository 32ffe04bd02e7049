import { INT32, type RawOps } from './raw-ops.js';

/** The combine step of a Mixture of Experts. */
export function installRows(ops: RawOps): void {
  ops.register('CombineRows', ({ rows, weights, rowOfChoice }) => {
    const [tokens, k] = rowOfChoice!.shape as [number, number];
    const choices = ops.gather(ops.read(rows!), ops.read(rowOfChoice!)); // [tokens, k, hidden]
    const scaled = weights ? ops.mul(choices, ops.reshape(ops.read(weights), [tokens, k, 1])) : choices;
    return ops.tensor(ops.reshape(ops.reduce('Sum', scaled, 1), [tokens, rows!.shape[1]!]));
  });

  ops.register('CombineRowsGradient', ({ dy, rows, weights, rowOfChoice }) => {
    const [tokens, k] = rowOfChoice!.shape as [number, number];
    const choices = tokens * k;
    const rowOf = ops.read(rowOfChoice!);
    const choiceOf = ops.run('InvertPermutation', [ops.reshape(rowOf, [choices])], [ops.type('T', INT32)]);
    const tokenOf = ops.run('FloorDiv', [choiceOf, ops.int32(k)], [ops.type('T', INT32)]);
    const gradient = ops.gather(ops.read(dy!), tokenOf); // [tokens * k, hidden], each row's share before its weight
    const weightOf = ops.gather(ops.reshape(ops.read(weights!), [choices, 1]), choiceOf);
    const along = ops.reduce('Sum', ops.mul(gradient, ops.read(rows!)), 1);
    const dWeights = ops.gather(ops.reshape(along, [choices]), rowOf);
    return [ops.tensor(ops.mul(gradient, weightOf)), ops.tensor(dWeights)];
  });
}
