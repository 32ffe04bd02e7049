import * as tf from '@tensorflow/tfjs-core';
import { Linear } from '@therapeutic-moe/nn';
import { describeOnBackends, expectClose, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { logitsOf, tinyConfig, tinyModel } from '../test/tiny-model.js';
import { CausalLm } from './index.js';

/** float32 sums in another order, through two layers. */
const CLOSE = 2e-5;
const VOCAB = 13;
const ids = [3, 1, 4, 1, 5, 9, 2];

describeOnBackends('CausalLm', () => {
  it('gives logits for every position and one routing per layer', () => {
    const model = tinyModel();
    const { logits, routings } = model.forward(tf.tensor2d([...ids, ...ids], [2, 7], 'int32'));
    expect(logits.shape).toEqual([2, 7, VOCAB]);
    expect(routings.map(({ indices }) => indices.shape)).toEqual([
      [14, 2],
      [14, 2],
    ]);
    tf.dispose([logits, ...routings]);
    model.dispose();
  });

  it('gives the last position alone when asked, equal to the last of all', async () => {
    const model = tinyModel({ tieWordEmbeddings: true });
    const last = tf.tidy(() => model.forward(tf.tensor2d([ids], [1, 7], 'int32'), { lastOnly: true }).logits);
    expect(last.shape).toEqual([1, 1, VOCAB]);
    await expectClose(last, (await logitsOf(model, ids)).slice(6 * VOCAB), CLOSE);
    last.dispose();
    model.dispose();
  });

  it('never lets a later token change an earlier logit', async () => {
    const model = tinyModel();
    const before = await logitsOf(model, ids);
    for (const position of [2, 4, 6]) {
      const after = await logitsOf(model, ids.with(position, 11));
      await expectClose(after.slice(0, position * VOCAB), before.slice(0, position * VOCAB), CLOSE);
      expect(after.slice(position * VOCAB)).not.toEqual(before.slice(position * VOCAB));
    }
    model.dispose();
  });

  it('gives each sequence of a batch what it gets alone', async () => {
    const model = tinyModel();
    const other = [7, 7, 0, 12, 8, 6, 10];
    const both = tf.tidy(() => model.forward(tf.tensor2d([ids, other], [2, 7], 'int32')).logits);
    await expectClose(both, [...(await logitsOf(model, ids)), ...(await logitsOf(model, other))], CLOSE);
    both.dispose();
    model.dispose();
  });

  it('is the same for the same seed, and another for another', async () => {
    const models = [1, 1, 2].map((seed) => CausalLm.create(tinyConfig(), seed));
    const [a, b, c] = await Promise.all(models.map((model) => logitsOf(model, ids)));
    expect(a).toEqual(b);
    expect(a).not.toEqual(c);
    for (const model of models) model.dispose();
  });

  it('serves factor times its trained positions with linear scaling, and no more', () => {
    const model = tinyModel({ maxPositionEmbeddings: 3, ropeScaling: { type: 'linear', factor: 2 } });
    expect(model.maxPositions).toBe(6);
    const long = tf.tensor2d([ids], [1, 7], 'int32');
    expect(() => model.forward(long)).toThrow("model.forward: 7 positions exceed the model's 6");
    long.dispose();
    model.dispose();
  });

  it('has parameters under Hugging Face names, and linears that fit alone replace', () => {
    const model = tinyModel();
    const names = [...model.parameters().keys()];
    expect(names).toContain('model.embed_tokens.weight');
    expect(names).toContain('model.layers.1.block_sparse_moe.experts.gate_up_proj');
    expect(names).toContain('lm_head.weight');
    expect([...model.linears().keys()].slice(7)).toEqual(['model.layers.1.self_attn.o_proj', 'lm_head']);
    expect([...model.stacks().keys()].slice(2)).toEqual([
      'model.layers.1.mlp.experts.gate_up_proj',
      'model.layers.1.mlp.experts.down_proj',
    ]);
    const narrow = Linear.create(5, 7, { seed: 1 });
    expect(() => model.replaceLinear('model.layers.0.self_attn.q_proj', narrow)).toThrow(
      'model.layers.0.self_attn.q_proj must map 5 to 24, got 5 to 7.',
    );
    for (const path of ['model.layers.2.self_attn.q_proj', 'model.layers.0.self_attn.constructor', 'lm_heads']) {
      expect(() => model.replaceLinear(path, narrow)).toThrow(`there is no linear at ${path}`);
    }
    narrow.dispose();
    model.dispose();
  });

  it('leaves nothing behind', async () => {
    await expectNoLeak(() => {
      const model = tinyModel({ mixture: undefined });
      const input = tf.tensor2d([ids], [1, 7], 'int32');
      const { logits, routings } = model.forward(input);
      expect(routings).toEqual([]);
      tf.dispose([logits, input]);
      model.dispose();
    });
  });
});
