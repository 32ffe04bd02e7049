import * as tf from '@tensorflow/tfjs-core';
import { paddingRanges } from '@therapeutic-moe/kernels';
import { Adapters } from '@therapeutic-moe/lora';
import { describeOnBackends, expectClose } from '@therapeutic-moe/test-kit';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { tinyModel } from '../test/tiny-model.js';
import type { CausalLm } from './index.js';

/** What a row in a batch may differ by from the row alone. */
const ROUNDING = 1e-4;

const rows = [
  [3, 1, 4, 1, 5],
  [9, 2, 6, 5, 3],
  [5, 8, 9, 7, 9],
  [3, 2, 3, 8, 4],
];
const names = ['warm', null, 'dora', 'calm'];

/** Three adapters of other ranks, scales and targets, as training leaves them. */
function addAdapters(model: CausalLm): Adapters {
  const adapters = new Adapters(model);
  adapters.add('warm', { r: 2, loraAlpha: 4 }, 1);
  adapters.add('calm', { r: 3, loraAlpha: 3, targetModules: ['1.self_attn.q_proj', 'v_proj'], useRslora: true }, 2);
  adapters.add('dora', { r: 1, loraAlpha: 2, targetModules: ['k_proj', 'o_proj'], useDora: true }, 3);
  for (const [i, factor] of adapters.names.flatMap((name) => [...adapters.get(name).parameters().values()]).entries())
    tf.tidy(() => factor.assign(tf.add(factor, tf.randomNormal(factor.shape, 0, 0.3, 'float32', i + 1))));
  return adapters;
}

const forward = (model: CausalLm, ids: number[][], options = {}) =>
  model.forward(tf.tensor2d(ids, [ids.length, ids[0]!.length], 'int32'), options).logits;

describeOnBackends('a batch whose rows use different adapters', () => {
  let model: CausalLm;
  let adapters: Adapters;
  beforeEach(() => {
    model = tinyModel();
    adapters = addAdapters(model);
  });
  afterEach(() => model.dispose());

  /** The plain way: each row alone, its adapter switched on. */
  const oneByOne = (ids = rows) =>
    tf.concat(
      ids.map((row, i) => {
        adapters.use(...[names[i]!].filter(Boolean));
        return forward(model, [row]);
      }),
      0,
    );

  it('gives what each row alone gives, with the same gradients', async () => {
    const trained = names.flatMap((name) => (name ? [...adapters.get(name).parameters().values()] : []));
    const [expected, together] = [oneByOne, () => forward(model, rows, { adapters: names })].map((run) => ({
      logits: tf.tidy(run),
      ...tf.variableGrads(() => tf.mean(tf.square(run())) as tf.Scalar, trained),
    }));
    await expectClose(together!.logits, expected!.logits, ROUNDING);
    for (const { name } of trained) await expectClose(together!.grads[name]!, expected!.grads[name]!, ROUNDING);
    for (const each of [expected!, together!]) tf.dispose([each.logits, each.value, ...Object.values(each.grads)]);
  });

  it('gives each row the base or its adapter, however little they do', async () => {
    const logits = tf.tidy(() => forward(model, [rows[0]!, rows[0]!, rows[0]!, rows[0]!], { adapters: names }));
    const values = await logits.array();
    for (const i of [0, 2, 3]) expect(values[i]).not.toEqual(values[1]);
    logits.dispose();
  });

  it('works with padding, as without', async () => {
    const padded = rows.map((row) => [...row, 0, 0]);
    const mask = padded.flatMap((row) => row.map((_, i) => Number(i < 5)));
    const { logits, expected } = tf.tidy(() => ({
      logits: tf.slice(
        forward(model, padded, { adapters: names, mask, ranges: paddingRanges(mask, 4, 7) }),
        [0, 0, 0],
        [-1, 5, -1],
      ),
      expected: oneByOne(),
    }));
    await expectClose(logits, expected, ROUNDING);
    tf.dispose([logits, expected]);
  });

  it('serves sessions with an adapter each, one token after the other, and forks of them', async () => {
    adapters.use('warm');
    const expected = tf.tidy(() => oneByOne());
    const values = await expected.array();
    adapters.use('calm');
    for (const [i, row] of rows.entries()) {
      const session = model.createSession({ adapter: names[i]! });
      await session.append(row.slice(0, 2));
      const fork = session.fork();
      session.dispose();
      for (const id of row.slice(2, 4)) await fork.append([id]);
      const { logits } = await fork.append(row.slice(4));
      await expectClose(logits, (values as number[][][])[i]![4]!, ROUNDING);
      fork.dispose();
    }
    expected.dispose();
  });

  it('refuses names that it does not have, or too few', () => {
    const tensors = tf.memory().numTensors;
    expect(() => forward(model, rows, { adapters: ['warm'] })).toThrow(
      'model.forward: adapters must name one adapter, or null, for each of the 4 rows, got 1.',
    );
    expect(() => forward(model, rows, { adapters: [...names.slice(1), 'cold'] })).toThrow(
      "model.forward: there is no adapter 'cold'; the model has warm, calm, dora.",
    );
    expect(tf.memory().numTensors).toBe(tensors + 2); // the ids of the two passes
  });
});
