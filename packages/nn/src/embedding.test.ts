import * as tf from '@tensorflow/tfjs-core';
import { describeOnBackends, expectClose, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { Embedding } from './index.js';

describeOnBackends('Embedding', () => {
  it('looks rows up by id and scores hidden states against the same rows', async () => {
    const embedding = Embedding.create(11, 5, { deviation: 1, seed: 3 });
    const rows = await embedding.weight.data();
    const ids = tf.tensor2d(
      [
        [7, 0, 7],
        [2, 10, 1],
      ],
      [2, 3],
      'int32',
    );
    const y = embedding.apply(ids);
    expect(y.shape).toEqual([2, 3, 5]);
    await expectClose(
      y,
      [7, 0, 7, 2, 10, 1].flatMap((id) => [...rows.slice(id * 5, id * 5 + 5)]),
      0,
    );
    const logits = tf.tidy(() => embedding.logits(tf.reshape(y, [6, 5])));
    const product = tf.tidy(() => tf.matMul(tf.reshape(y, [6, 5]), tf.transpose(embedding.weight as tf.Tensor2D)));
    await expectClose(logits, product, 1e-5);
    await expectNoLeak(() => embedding.apply(ids));
    tf.dispose([ids, y, logits, product]);
    embedding.dispose();
  });

  it('adds the gradients of a row that is used twice, and of its use as the head', async () => {
    const embedding = Embedding.create(3, 2, { deviation: 1, seed: 3 });
    const [ids, weight] = [tf.tensor1d([2, 0, 2], 'int32'), tf.clone(embedding.weight as tf.Tensor2D)];
    const viaTape = tf.tidy(() =>
      tf.variableGrads(() => tf.sum(embedding.logits(embedding.apply(ids) as tf.Tensor2D)) as tf.Scalar),
    );
    const plain = tf.tidy(() =>
      tf.grad((w: tf.Tensor) => {
        const picked = tf.stack([2, 0, 2].map((id) => tf.reshape(tf.slice(w, [id, 0], [1, 2]), [2])));
        return tf.sum(tf.matMul(picked as tf.Tensor2D, w as tf.Tensor2D, false, true));
      })(weight),
    );
    await expectClose(viaTape.grads[embedding.weight.name]!, plain, 1e-5);
    tf.dispose([ids, weight, plain, viaTape.value, viaTape.grads]);
    embedding.dispose();
  });
});
