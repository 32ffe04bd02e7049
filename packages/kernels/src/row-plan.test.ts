import * as tf from '@tensorflow/tfjs-core';
import { describeOnBackends, expectClose, expectGradient, expectNoLeak } from '@therapeutic-moe/test-kit';
import { it } from 'vitest';
import { combineRows, combineRowsReference, dispatchRows, type RowPlan } from './index.js';

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

    it('copies the token of every row and leaves empty rows zero', async () => {
      const plan = make();
      const { tokens } = sizes(plan);
      const x = random(tokens, 7);
      const [values, source] = [await x.data(), await plan.tokenOfRow.data()];
      const expected = [...source].flatMap((t) =>
        t < tokens ? [...values.slice(t * 7, t * 7 + 7)] : Array(7).fill(0),
      );
      const rows = dispatchRows(x, plan);
      await expectClose(rows, expected, 0);
      tf.dispose([x, rows, { ...plan, complete: [] }]);
    });

    it('has the gradients of central differences', async () => {
      const plan = make();
      const { rows, tokens } = sizes(plan);
      const [x, y, w] = [random(tokens, 3), random(rows, 5), random(tokens, 2)];
      await expectGradient((x) => dispatchRows(x as tf.Tensor2D, plan), [x]);
      await expectGradient((y, w) => combineRows(y as tf.Tensor2D, w as tf.Tensor2D, plan), [y, w]);
      tf.dispose([x, y, w, { ...plan, complete: [] }]);
    });

    it('combines as the plain form does, gradients included', async () => {
      const plan = make();
      const { rows, tokens } = sizes(plan);
      const [y, w, dy] = [random(rows, 11), random(tokens, 2), random(tokens, 11)];
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
