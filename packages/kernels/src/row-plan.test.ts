import * as tf from '@tensorflow/tfjs-core';
import { describeOnBackends, expectClose, expectGradient, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import {
  combineRows,
  combineRowsReference,
  dispatchRows,
  type GroupedRowPlan,
  groupedMatMul,
  type RowPlan,
  swiGlu,
} from './index.js';

/** Sums of two products in another order. */
const SUM = 1e-5;

let seed = 1;
const random = (rows: number, columns: number) => tf.randomNormal<tf.Rank.R2>([rows, columns], 0, 1, 'float32', seed++);

const plans = {
  'with every choice kept': (): RowPlan => ({
    tokenOfRow: tf.tensor1d([1, 2, 0, 2, 0, 1], 'int32'),
    choiceOfRow: tf.tensor1d([2, 5, 0, 4, 1, 3], 'int32'),
    rowOfChoice: tf.tensor2d([2, 4, 0, 5, 3, 1], [3, 2], 'int32'),
    complete: true,
  }),
  // Seven rows, of which 1 and 6 are empty; token 0 loses one choice, token 2 both.
  'with dropped choices and empty rows': (): RowPlan => ({
    tokenOfRow: tf.tensor1d([3, 5, 0, 4, 1, 3, 5], 'int32'),
    choiceOfRow: tf.tensor1d([6, 10, 0, 8, 2, 7, 10], 'int32'),
    rowOfChoice: tf.tensor2d([2, 7, 4, 7, 7, 7, 0, 5, 3, 7], [5, 2], 'int32'),
    complete: false,
  }),
};

for (const [name, make] of Object.entries(plans)) {
  describeOnBackends(`dispatchRows and combineRows ${name}`, () => {
    const sizes = (plan: RowPlan) => ({ rows: plan.tokenOfRow.size, tokens: plan.rowOfChoice.shape[0] });

    it.each([7, 8])('copies the token of every row and leaves empty rows zero, %i wide', async (hidden) => {
      const plan = make();
      const { tokens } = sizes(plan);
      const x = random(tokens, hidden);
      const [values, source] = [await x.data(), await plan.tokenOfRow.data()];
      const expected = [...source].flatMap((t) =>
        t < tokens ? [...values.slice(t * hidden, (t + 1) * hidden)] : Array(hidden).fill(0),
      );
      const rows = dispatchRows(x, plan);
      await expectClose(rows, expected, 0);
      tf.dispose([x, rows, { ...plan, complete: [] }]);
    });

    it('fills every gradient, in memory that was used before too', async () => {
      const plan = make();
      const { rows, tokens } = sizes(plan);
      const [y, w] = [random(rows, 5), random(tokens, 2)];
      tf.dispose(combineRows(y, w, plan)); // brings both to the device
      const used = [swiGlu(tf.ones([rows, 10])), swiGlu(tf.ones([tokens, 4]))];
      await Promise.all(used.map((t) => t.data()));
      tf.dispose(used); // memory that the gradients, of the same sizes, may get as it is
      const gradients = tf.grads((y, w) => combineRows(y as tf.Tensor2D, w as tf.Tensor2D, plan))([y, w]);
      const [dy, dw] = [await gradients[0]!.data(), await gradients[1]!.data()];
      const source = [...(await plan.tokenOfRow.data())];
      const target = [...(await plan.rowOfChoice.data())];
      expect(source.map((t, row) => t < tokens || dy.slice(row * 5, row * 5 + 5).every((g) => g === 0))).not.toContain(
        false,
      );
      expect(target.map((row, choice) => row < rows || dw[choice] === 0)).not.toContain(false);
      tf.dispose([y, w, gradients, { ...plan, complete: [] }]);
    });

    it('has the gradients of central differences', async () => {
      const plan = make();
      const { rows, tokens } = sizes(plan);
      const [x, y, w] = [random(tokens, 3), random(rows, 5), random(tokens, 2)];
      await expectGradient((x) => dispatchRows(x as tf.Tensor2D, plan), [x]);
      await expectGradient((y, w) => combineRows(y as tf.Tensor2D, w as tf.Tensor2D, plan), [y, w]);
      tf.dispose([x, y, w, { ...plan, complete: [] }]);
    });

    // 268 is more than a workgroup's threads, four numbers each.
    it.each([11, 268])('combines as the plain form does, gradients included, %i wide', async (hidden) => {
      const plan = make();
      const { rows, tokens } = sizes(plan);
      const [y, w, dy] = [random(rows, hidden), random(tokens, 2), random(tokens, hidden)];
      const run = (f: typeof combineRows) =>
        tf.tidy(() => [
          f(y, w, plan),
          ...tf.grads((y, w) => tf.sum(tf.mul(f(y as tf.Tensor2D, w as tf.Tensor2D, plan), dy)))([y, w]),
        ]);
      const [fast, plain] = [run(combineRows), run(combineRowsReference)];
      for (const [i, tensor] of fast.entries()) await expectClose(tensor, plain[i]!, SUM);
      await expectNoLeak(() => run(combineRows));
      tf.dispose([fast, plain, y, w, dy, { ...plan, complete: [] }]);
    });
  });
}

/** A complete plan by ops alone: the form for a device that the host cannot read at once. */
function planByOps(indices: tf.Tensor2D, groups: number): GroupedRowPlan {
  const [tokens, k] = indices.shape;
  const flat = tf.reshape(indices, [-1]) as tf.Tensor1D;
  const hot = tf.mul(tf.cast(tf.oneHot(flat, groups), 'float32'), 1); // a cast alone leaves integers on WebGPU
  const ends = tf.cumsum(tf.sum(hot, 0)) as tf.Tensor1D;
  const place = tf.add(tf.cumsum(hot, 0, true), tf.sub(ends, tf.sum(hot, 0))); // [tokens * k, groups]
  const rowOfChoice = tf.cast(tf.sum(tf.mul(hot, place), 1), 'int32');
  const byRow = (values: tf.Tensor) =>
    tf.cast(tf.scatterND(tf.expandDims(rowOfChoice, 1), values, [tokens * k]), 'int32') as tf.Tensor1D;
  // Not the quotient of choice and k, which a GPU may round down.
  const token = tf.tile(tf.expandDims(tf.range(0, tokens), 1), [1, k]);
  return {
    offsets: tf.cast(tf.concat1d([tf.zeros([1]), ends]), 'int32'),
    rowOfChoice: tf.reshape(rowOfChoice, [tokens, k]),
    tokenOfRow: byRow(tf.reshape(token, [-1])),
    choiceOfRow: byRow(tf.range(0, tokens * k)),
    groupOfRow: byRow(tf.cast(flat, 'float32')),
    complete: true,
  };
}

describeOnBackends('a Mixture of Experts planned by ops', () => {
  it('equals the sum over all experts, gradients included, though its plan is on the tape', async () => {
    const [tokens, hidden, out, experts, k] = [13, 5, 7, 3, 2];
    const inputs = [random(tokens, hidden), random(hidden, experts), random(experts, hidden * out)];
    const choose = (x: tf.Tensor, gate: tf.Tensor) => {
      const probabilities = tf.softmax(tf.matMul(x as tf.Tensor2D, gate as tf.Tensor2D));
      return { probabilities, indices: tf.topk(probabilities, k).indices as tf.Tensor2D };
    };
    const hot = tf.tidy(() =>
      tf.mul(tf.cast(tf.oneHot(choose(inputs[0]!, inputs[1]!).indices, experts), 'float32'), 1),
    ); // [tokens, k, experts], constant to the tape
    const planned = (x: tf.Tensor, gate: tf.Tensor, w: tf.Tensor) => {
      const { probabilities, indices } = choose(x, gate);
      const plan = planByOps(indices, experts);
      const weights = tf.sum(tf.mul(hot, tf.expandDims(probabilities, 1)), 2) as tf.Tensor2D;
      const stacked = tf.reshape(w, [experts, hidden, out]) as tf.Tensor3D;
      const rows = groupedMatMul(dispatchRows(x as tf.Tensor2D, plan), stacked, plan.offsets);
      return combineRows(rows, weights, plan);
    };
    const summed = (x: tf.Tensor, gate: tf.Tensor, w: tf.Tensor) => {
      const shares = tf.mul(tf.sum(hot, 1), choose(x, gate).probabilities); // [tokens, experts]
      const parts = Array.from({ length: experts }, (_, e) => {
        const weight = tf.reshape(tf.slice(w, [e, 0], [1, -1]), [hidden, out]) as tf.Tensor2D;
        return tf.mul(tf.matMul(x as tf.Tensor2D, weight), tf.slice(shares, [0, e], [-1, 1]));
      });
      return tf.addN(parts) as tf.Tensor2D;
    };
    const dy = random(tokens, out);
    const run = (f: typeof planned) =>
      tf.tidy(() => {
        const { value, grads } = tf.valueAndGrads((x, gate, w) => tf.mul(f(x!, gate!, w!), dy))(inputs);
        return [value, ...grads];
      });
    const [fast, plain] = [run(planned), run(summed)];
    for (const [i, tensor] of fast.entries()) await expectClose(tensor, plain[i]!, SUM);
    await expectNoLeak(() => run(planned));
    tf.dispose([inputs, hot, dy, fast, plain]);
  });
});
