import * as tf from '@tensorflow/tfjs-core';
import { describeOnBackends, expectClose, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import {
  createExperts,
  createPool,
  createScaledExperts,
  disposePlan,
  disposePools,
  HIDDEN,
  randomTokens,
  SUM,
  TOKENS,
} from '../test/create-pool.js';
import {
  applyExperts,
  applySharded,
  type Experts,
  expertSizes,
  placeByLoad,
  placeUniformly,
  shardExperts,
  sortByDevice,
} from './index.js';

/** A routing by a random gate; the last expert is idle, so one device may be. */
function routed(experts: number, k: number) {
  const pool = createPool(experts, k, {
    bias: Array.from({ length: experts }, (_, e) => (e === experts - 1 ? -100 : 0)),
  });
  const hidden = randomTokens();
  const routing = pool.router.route(hidden);
  disposePools(pool);
  return { hidden, routing };
}

/** The gradients of all shards, each expert's where it stands in the whole layer. */
function gathered(
  shards: readonly Experts[],
  expertsOf: readonly (readonly number[])[],
  name: string,
  grads: tf.NamedTensorMap,
) {
  return tf.tidy(() => {
    const rows = shards.flatMap((shard, device) => {
      const parameter = shard.parameters().get(name)!;
      return tf.split(grads[parameter.name] ?? tf.zerosLike(parameter), expertsOf[device]!.length); // none where idle
    });
    const order = expertsOf.flat();
    return tf.concat(order.map((_, expert) => rows[order.indexOf(expert)]!));
  });
}

describeOnBackends('applySharded', () => {
  for (const [name, place] of [
    ['uniform', (experts: Experts) => placeUniformly(expertSizes(experts), { devices: 3 })],
    ['by load', (experts: Experts) => placeByLoad(expertSizes(experts), { devices: 3 }, [1, 5, 2, 4, 3, 2, 0])],
    [
      'with an idle device',
      (experts: Experts) => placeByLoad(expertSizes(experts), { devices: 3 }, [1, 1, 1, 1, 1, 1, 99]),
    ],
    ['on one device', (experts: Experts) => placeUniformly(expertSizes(experts), { devices: 1 })],
  ] as const) {
    it(`equals the unsharded layer in output and all gradients: ${name}`, async () => {
      const layer = createScaledExperts(7);
      const { hidden, routing } = routed(7, 2);
      const placement = place(layer);
      const shards = shardExperts(layer, placement);
      const plan = sortByDevice(await routing.indices.data(), 2, placement);
      const direction = randomTokens(TOKENS, 41);
      const sharded = (x: tf.Tensor, w: tf.Tensor) => applySharded(x as tf.Tensor2D, w as tf.Tensor2D, shards, plan);
      const whole = (x: tf.Tensor, w: tf.Tensor) =>
        applyExperts(x as tf.Tensor2D, { ...routing, weights: w as tf.Tensor2D }, layer);
      const [ours, theirs] = [sharded, whole].map((apply) => {
        const loss = (x: tf.Tensor, w: tf.Tensor) => tf.sum(tf.mul(apply(x, w), direction)) as tf.Scalar;
        const output = tf.tidy(() => apply(hidden, routing.weights));
        const ofInputs = tf.tidy(() => tf.grads((x, w) => loss(x!, w!))([hidden, routing.weights]));
        const { value, grads } = tf.variableGrads(() => loss(hidden, routing.weights));
        return { output, ofInputs, value, grads };
      });
      await expectClose(ours!.output, theirs!.output, SUM);
      for (const i of [0, 1]) await expectClose(ours!.ofInputs[i]!, theirs!.ofInputs[i]!, SUM);
      for (const stacked of ['gate_up_proj', 'down_proj']) {
        const all = gathered(shards, placement.expertsOf, stacked, ours!.grads);
        await expectClose(all, theirs!.grads[layer.parameters().get(stacked)!.name]!, SUM);
        all.dispose();
      }
      const ofScale = tf.tidy(() =>
        tf.addN(shards.flatMap((shard) => ours!.grads[shard.parameters().get('scale')!.name] ?? [])),
      );
      await expectClose(ofScale, theirs!.grads[layer.scale.name]!, SUM);
      disposePlan(plan);
      tf.dispose([hidden, routing, direction, ours!, theirs!, ofScale]);
      for (const each of [layer, ...shards]) each.dispose();
    });
  }

  it('gives zeros when all tokens are padded', async () => {
    const layer = createExperts(5);
    const { hidden, routing } = routed(5, 2);
    const placement = placeUniformly(expertSizes(layer), { devices: 2 });
    const shards = shardExperts(layer, placement);
    const plan = sortByDevice(await routing.indices.data(), 2, placement, new Array(TOKENS).fill(0));
    const output = applySharded(hidden, routing.weights, shards, plan);
    await expectClose(output, new Array(TOKENS * HIDDEN).fill(0), 0);
    tf.dispose([hidden, routing, output]);
    disposePlan(plan);
    for (const each of [layer, ...shards]) each.dispose();
  });

  it('gives padded tokens no row and no output', async () => {
    const layer = createExperts(5);
    const { hidden, routing } = routed(5, 2);
    const placement = placeUniformly(expertSizes(layer), { devices: 2 });
    const shards = shardExperts(layer, placement);
    const mask = Array.from({ length: TOKENS }, (_, t) => (t % 3 === 1 ? 0 : 1));
    const plan = sortByDevice(await routing.indices.data(), 2, placement, mask);
    const output = applySharded(hidden, routing.weights, shards, plan);
    const real = tf.tensor1d(mask);
    const expected = applyExperts(hidden, routing, layer, { mask: real });
    expect(plan.offsets.at(-1)).toBe(2 * mask.filter((m) => m === 1).length);
    await expectClose(output, expected, SUM);
    disposePlan(plan);
    tf.dispose([hidden, routing, output, expected, real]);
    for (const each of [layer, ...shards]) each.dispose();
  });

  it('leaves nothing behind', async () => {
    const layer = createExperts(5);
    const { hidden, routing } = routed(5, 2);
    const placement = placeUniformly(expertSizes(layer), { devices: 2 });
    const indices = await routing.indices.data();
    await expectNoLeak(() => {
      const [shards, plan] = [shardExperts(layer, placement), sortByDevice(indices, 2, placement)];
      const output = applySharded(hidden, routing.weights, shards, plan);
      for (const shard of shards) shard.dispose();
      disposePlan(plan);
      return output;
    });
    tf.dispose([hidden, routing]);
    layer.dispose();
  });

  it('refuses shards, plans and tokens that do not belong together', async () => {
    const layer = createExperts(5);
    const { hidden, routing } = routed(5, 2);
    const placement = placeUniformly(expertSizes(layer), { devices: 2 });
    const shards = shardExperts(layer, placement);
    const plan = sortByDevice(await routing.indices.data(), 2, placement);
    const [few, other] = [randomTokens(2), createExperts(3)];
    expect(() => shardExperts(other, placement)).toThrow('the placement is of 5 experts, but the layer has 3.');
    expect(() => applySharded(few, routing.weights, shards, plan)).toThrow('hidden must be [11, 5], got [2, 5].');
    expect(() => applySharded(hidden, routing.weights, [...shards].reverse(), plan)).toThrow(
      'the plan is for devices of 3, 2 experts, got shards of 2, 3; make both from one placement.',
    );
    expect(() => applySharded(hidden, routing.weights, shards, plan, { seed: 3 })).toThrow('leave out pass.seed');
    expect(() => sortByDevice([0, 9], 2, placement)).toThrow('token 0 chose expert 9, but experts are 0 to 4.');
    disposePlan(plan);
    tf.dispose([hidden, routing, few]);
    for (const each of [layer, other, ...shards]) each.dispose();
  });
});
