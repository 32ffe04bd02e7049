import * as tf from '@tensorflow/tfjs-core';
import { Linear } from '@therapeutic-moe/nn';
import { capacityPlan, type Routing, TopKRouter } from '@therapeutic-moe/router';
import {
  describeOnBackends,
  expectClose,
  expectGradient,
  expectNoLeak,
  valueAndGradients,
} from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import {
  applyExperts,
  applyPlanned,
  applyWithCapacity,
  type Dispatch,
  defaultDispatch,
  type Experts,
  SwiGluExperts,
  sortByExpertOnDevice,
} from './index.js';

const TOKENS = 11;
const HIDDEN = 5;
const INTERMEDIATE = 3;
/** float32 sums of a few products in another order. */
const SUM = 2e-5;

const createExperts = (experts: number) =>
  SwiGluExperts.create(
    { experts, hidden: HIDDEN, intermediate: INTERMEDIATE },
    { deviation: 1, downDeviation: 0.7, seed: 3 },
  );

const tokens = (count = TOKENS) => tf.randomNormal<tf.Rank.R2>([count, HIDDEN], 0, 1, 'float32', 5);

/** Routing by a random gate; `idle` is an expert that no token chooses. */
function routeTo(hidden: tf.Tensor2D, experts: number, k: number, idle?: number): Routing {
  const gate = Linear.create(HIDDEN, experts, { deviation: 1, bias: true, seed: 7 });
  const bias = Array.from({ length: experts }, (_, e) => (e === idle ? -100 : 0));
  tf.tidy(() => gate.bias!.assign(tf.tensor1d(bias)));
  const router = new TopKRouter(gate, {
    numExperts: experts,
    numExpertsPerTok: k,
    softmaxOrder: 'before-top-k',
    normTopkProb: true,
  });
  const routing = router.route(hidden);
  router.dispose();
  return routing;
}

type Apply = (hidden: tf.Tensor2D, routing: Routing, experts: Experts, mask?: tf.Tensor1D) => tf.Tensor2D;

/** Every way to run a layer, here with room for all. */
const forms: Record<'sorted' | 'sorted on the device' | 'capacity' | 'dense', Apply> = {
  sorted: (hidden, routing, experts, mask) =>
    applyExperts(hidden, routing, experts, { dispatch: 'sorted', ...(mask && { mask }) }),
  'sorted on the device': (hidden, routing, experts, mask) =>
    applyPlanned(hidden, routing.weights, experts, sortByExpertOnDevice(routing.indices, experts.experts, mask)),
  capacity: (hidden, routing, experts, mask) =>
    applyWithCapacity(hidden, routing, experts, { capacity: TOKENS, dropBy: 'position', ...(mask && { mask }) }).output,
  dense: (hidden, routing, experts, mask) =>
    applyExperts(hidden, routing, experts, { dispatch: 'dense', ...(mask && { mask }) }),
};

const { dense: plainForm, ...sparseForms } = forms;

const tightCapacity: Apply = (hidden, routing, experts, mask) =>
  applyWithCapacity(hidden, routing, experts, { capacity: 2, dropBy: 'probability', ...(mask && { mask }) }).output;

const directionFor = (count: number) => tf.randomNormal<tf.Rank.R2>([count, HIDDEN], 0, 1, 'float32', 11);

/** The weighed output, and the gradients of hidden states, routing weights and every parameter. */
function run(
  apply: Apply,
  hidden: tf.Tensor2D,
  routing: Routing,
  layer: Experts,
  mask?: tf.Tensor1D,
  direction = directionFor(hidden.shape[0]),
): tf.Tensor[] {
  const results = valueAndGradients(
    (x, weights) =>
      tf.mul(apply(x as tf.Tensor2D, { ...routing, weights: weights as tf.Tensor2D }, layer, mask), direction),
    [hidden, routing.weights],
    layer.parameters().values(),
  );
  direction.dispose();
  return results;
}

describeOnBackends('applyExperts', (backend) => {
  // WebGPU cannot read the choices at once: there `sorted` sorts on the device.
  const { 'sorted on the device': onDevice, ...others } = sparseForms;
  const formsHere = backend === 'webgpu' ? others : { ...others, 'sorted on the device': onDevice };

  for (const { experts, k, idle } of [
    { experts: 5, k: 2, idle: 3 },
    { experts: 5, k: 1, idle: 0 },
    { experts: 3, k: 3 },
  ]) {
    for (const [form, apply] of Object.entries(formsHere)) {
      it(`${form} equals dense in value and all gradients: ${k} of ${experts}${idle ? ', one idle' : ''}`, async () => {
        const [layer, hidden] = [createExperts(experts), tokens()];
        const routing = routeTo(hidden, experts, k, idle);
        const results = [apply, plainForm].map((apply) => run(apply, hidden, routing, layer));
        for (const i of [0, 1, 2, 3, 4]) await expectClose(results[0]![i]!, results[1]![i]!, SUM);
        if (idle !== undefined) {
          const shareOfIdle = tf.tidy(() => tf.sum(tf.abs(tf.slice(results[0]![3]!, [idle, 0, 0], [1, -1, -1]))));
          expect((await shareOfIdle.data())[0]).toBe(0);
          shareOfIdle.dispose();
        }
        tf.dispose([hidden, routing, results]);
        layer.dispose();
      });
    }
  }

  for (const [form, apply] of Object.entries({ ...formsHere, capacity: tightCapacity, dense: plainForm })) {
    const padded = [0, 4, 5];
    it(`${form} treats padded tokens as if they were absent`, async () => {
      const [layer, hidden] = [createExperts(5), tokens()];
      const present = tf.tensor1d([1, 2, 3, 6, 7, 8, 9, 10], 'int32');
      const real = tf.gather(hidden, present);
      const mask = tf.tensor1d(Array.from({ length: TOKENS }, (_, t) => (padded.includes(t) ? 0 : 1)));
      const [routing, routingOfReal] = [routeTo(hidden, 5, 2), routeTo(real, 5, 2)];
      const [ofOutput, ofHidden, ofWeights, ...rest] = run(apply, hidden, routing, layer, mask);
      const [realOutput, realHidden, realWeights, ...realRest] = run(
        apply,
        real,
        routingOfReal,
        layer,
        undefined,
        tf.tidy(() => tf.gather(directionFor(TOKENS), present)),
      );
      for (const [full, part] of [
        [ofOutput!, realOutput!],
        [ofHidden!, realHidden!],
        [ofWeights!, realWeights!],
      ] as const) {
        const spread = tf.tidy(() => tf.scatterND(tf.expandDims(present, 1), part, full.shape));
        await expectClose(full, spread, SUM);
        spread.dispose();
      }
      for (const [i, gradient] of rest.entries()) await expectClose(gradient, realRest[i]!, SUM);
      tf.dispose([hidden, present, real, mask, routing, routingOfReal]);
      tf.dispose([ofOutput!, ofHidden!, ofWeights!, realOutput!, realHidden!, realWeights!, rest, realRest]);
      layer.dispose();
    });
  }

  it('with capacity, tells what was dropped and leaves the other choices as they were', async () => {
    const [layer, hidden] = [createExperts(5), tokens()];
    const routing = routeTo(hidden, 5, 2);
    const { output, overflow } = applyWithCapacity(hidden, routing, layer, { capacity: 3, dropBy: 'probability' });
    const plan = capacityPlan(routing.indices, routing.weights, { experts: 5, capacity: 3, dropBy: 'probability' });
    const rows = [...(await plan.rowOfChoice.data())];
    const keptWeights = [...(await routing.weights.data())].map((w, choice) => (rows[choice] === 15 ? 0 : w));
    const expected = tf.tidy(() =>
      applyExperts(hidden, { ...routing, weights: tf.tensor2d(keptWeights, [TOKENS, 2]) }, layer, {
        dispatch: 'dense',
      }),
    );
    await expectClose(output, expected, SUM);
    const dropped = [...(await overflow.data())].reduce((sum, n) => sum + n, 0);
    expect(dropped).toBe(rows.filter((row) => row === 15).length);
    expect(dropped).toBeGreaterThan(0);
    const { complete: _, offsets: __, ...tensors } = plan;
    tf.dispose([hidden, routing, output, overflow, expected, { ...tensors }]);
    layer.dispose();
  });

  it('agrees with central differences in hidden states and weights', async () => {
    const [layer, hidden] = [createExperts(3), tokens(2)];
    const routing = routeTo(hidden, 3, 2);
    await expectGradient(
      (x, w) => applyExperts(x as tf.Tensor2D, { ...routing, weights: w as tf.Tensor2D }, layer),
      [hidden, routing.weights],
    );
    tf.dispose([hidden, routing]);
    layer.dispose();
  });

  it('with one expert is a plain gated MLP', async () => {
    const [layer, hidden] = [createExperts(1), tokens()];
    const routing = routeTo(hidden, 1, 1);
    const mixed = applyExperts(hidden, routing, layer);
    const plain = tf.tidy(() => {
      const matrix = (t: tf.Variable) => tf.reshape(t, t.shape.slice(1) as [number, number]);
      const [gate, up] = tf.split(tf.matMul(hidden, matrix(layer.parameters().get('gate_up_proj')!)), 2, 1) as [
        tf.Tensor2D,
        tf.Tensor2D,
      ];
      return tf.matMul(tf.mul(tf.mul(gate, tf.sigmoid(gate)), up), matrix(layer.parameters().get('down_proj')!));
    });
    await expectClose(mixed, plain, SUM);
    tf.dispose([hidden, routing, mixed, plain]);
    layer.dispose();
  });

  it('gives permuted outputs for permuted tokens', async () => {
    const [layer, hidden] = [createExperts(5), tokens()];
    const order = tf.tensor1d([3, 10, 0, 7, 1, 9, 2, 8, 6, 4, 5], 'int32');
    const shuffled = tf.gather(hidden, order);
    const routings = [routeTo(hidden, 5, 2), routeTo(shuffled, 5, 2)];
    const [first, second] = [applyExperts(hidden, routings[0]!, layer), applyExperts(shuffled, routings[1]!, layer)];
    const firstShuffled = tf.gather(first, order);
    await expectClose(second, firstShuffled, SUM);
    tf.dispose([hidden, order, shuffled, routings, first, second, firstShuffled]);
    layer.dispose();
  });

  it('computes only tokens * k rows when sorted, and all rows of every expert when dense', () => {
    const [layer, hidden] = [createExperts(7), tokens()];
    const routing = routeTo(hidden, 7, 2);
    const rows = { sorted: 0, dense: 0 };
    const [grouped, plain] = [layer.down.applyGrouped.bind(layer.down), layer.down.applyExpert.bind(layer.down)];
    layer.down.applyGrouped = (x, offsets) => {
      rows.sorted += x.shape[0];
      return grouped(x, offsets);
    };
    layer.down.applyExpert = (x, expert) => {
      rows.dense += x.shape[0];
      return plain(x, expert);
    };
    const outputs = (['sorted', 'dense'] as const).map((dispatch) =>
      applyExperts(hidden, routing, layer, { dispatch }),
    );
    expect(rows).toEqual({ sorted: TOKENS * 2, dense: TOKENS * 7 });
    tf.dispose([hidden, routing, outputs]);
    layer.dispose();
  });

  it.skipIf(backend === 'webgpu')('refuses a NaN in the gates', () => {
    const [layer, hidden] = [
      createExperts(3),
      tf.tensor2d([
        [1, 2, 3, 4, 5],
        [1, Number.NaN, 3, 4, 5],
      ]),
    ];
    const routing = routeTo(hidden, 3, 2);
    expect(() => applyExperts(hidden, routing, layer)).toThrow('a routing weight of token 1 is NaN');
    tf.dispose([hidden, routing]);
    layer.dispose();
  });

  it('refuses routing of other tokens or other experts', () => {
    const [layer, hidden, others] = [createExperts(3), tokens(), tokens(7)];
    const [short, wide] = [routeTo(others, 3, 2), routeTo(hidden, 5, 2)];
    expect(() => applyExperts(hidden, short, layer)).toThrow('routing.probabilities must be [11, 3], got [7, 3]');
    expect(() => applyExperts(hidden, wide, layer)).toThrow('routing.probabilities must be [11, 3], got [11, 5]');
    const narrow = { ...wide, probabilities: short.probabilities, weights: short.weights };
    expect(() => applyExperts(others, narrow, layer)).toThrow('routing.indices must be [7, k], got [11, 2]');
    expect(() => applyWithCapacity(hidden, short, layer, { capacity: 2, dropBy: 'position' })).toThrow(
      'applyWithCapacity: routing.probabilities must be [11, 3], got [7, 3].',
    );
    const plan = sortByExpertOnDevice(short.indices, 3);
    expect(() => applyPlanned(hidden, wide.weights, layer, plan)).toThrow(
      'plan.rowOfChoice must be [11, 2], got [7, 2].',
    );
    const dispatch = 'capacity' as Dispatch;
    expect(() => applyExperts(others, short, layer, { dispatch })).toThrow(
      "must be 'sorted' or 'dense', got 'capacity'",
    );
    tf.dispose([hidden, others, short, wide, { ...plan, complete: [] }]);
    layer.dispose();
  });

  it('refuses a mask or sequences of other tokens', () => {
    const [layer, hidden, mask] = [createExperts(3), tokens(), tf.ones<tf.Rank.R1>([7])];
    const routing = routeTo(hidden, 3, 2);
    expect(() => applyExperts(hidden, routing, layer, { mask })).toThrow('applyExperts: mask must be [11], got [7].');
    expect(() => applyExperts(hidden, routing, layer, { pass: { sequences: { batch: 2, seq: 5 } } })).toThrow(
      'pass.sequences says 2 sequences of 5, but there are 11 tokens.',
    );
    tf.dispose([hidden, routing, mask]);
    layer.dispose();
  });

  it('leaves nothing behind', async () => {
    const [layer, hidden] = [createExperts(3), tokens()];
    const routing = routeTo(hidden, 3, 2);
    await expectNoLeak(() => [
      applyExperts(hidden, routing, layer),
      applyExperts(hidden, routing, layer, { dispatch: 'dense' }),
      applyWithCapacity(hidden, routing, layer, { capacity: 2, dropBy: 'probability' }),
    ]);
    tf.dispose([hidden, routing]);
    layer.dispose();
  });

  it('chooses the sparse form, but for kept keys and values where the backend cannot read at once', () => {
    expect(defaultDispatch()).toBe('sorted');
    const cache = { append: (_: string, k: tf.Tensor4D, v: tf.Tensor4D) => ({ k, v }) };
    expect(defaultDispatch({ cache })).toBe(backend === 'webgpu' ? 'dense' : 'sorted');
  });
});
