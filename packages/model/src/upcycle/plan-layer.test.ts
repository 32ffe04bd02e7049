import * as tf from '@tensorflow/tfjs-core';
import { applyExperts, SwiGluExperts, upcycleExperts } from '@therapeutic-moe/experts';
import { Linear, StackedLinear } from '@therapeutic-moe/nn';
import { TopKRouter } from '@therapeutic-moe/router';
import { describeOnBackends, expectClose } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { domainGate } from './domain-gate.js';
import { takeNeurons } from './expert-weights.js';
import { busiestNeurons, dealNeurons } from './neurons.js';
import { planLayer } from './plan-layer.js';

/** float32 sums in another order. */
const SUM = 1e-4;

const [HIDDEN, INNER, EXPERTS, TOKENS] = [5, 11, 3, 17];
const router = { numExperts: EXPERTS, numExpertsPerTok: 2, softmaxOrder: 'before-top-k', normTopkProb: true } as const;

/** Every sixth token starts a text, the others belong to domains in turn. */
const domains = Int32Array.from({ length: TOKENS }, (_, i) => (i % 6 === 0 ? -1 : i % EXPERTS));
const shares = Float32Array.from({ length: EXPERTS * TOKENS }, (_, i) => {
  const domain = Math.floor(i / TOKENS);
  return domains[i % TOKENS] === domain ? 1 / domains.filter((own) => own === domain).length : 0;
});
const tokens = { ids: [], domains, shares };

const draw = (shape: [number, number], seed: number) => tf.randomNormal(shape, 0.3, 1, 'float32', seed) as tf.Tensor2D;
const denseOf = () => ({ gateUp: draw([HIDDEN, 2 * INNER], 5), down: draw([INNER, HIDDEN], 7) });

describeOnBackends('planLayer', () => {
  it('measures what experts of its neurons do', async () => {
    const before = tf.memory().numTensors;
    const [rows, dense] = [draw([TOKENS, HIDDEN], 3), denseOf()];
    const plan = await planLayer(rows, tokens, dense, router, 7);
    const weights = {
      gateUp: (await dense.gateUp.data()) as Float32Array,
      down: (await dense.down.data()) as Float32Array,
    };
    const taken = plan.experts!.map((own) => takeNeurons(weights, HIDDEN, own));
    const stack = (name: 'gateUp' | 'down', shape: [number, number, number]) =>
      new StackedLinear(
        tf.tidy(() =>
          tf.variable(
            tf.tensor3d(
              taken.flatMap((each) => [...each[name]]),
              shape,
            ),
          ),
        ),
      );
    const narrow = new SwiGluExperts(stack('gateUp', [EXPERTS, HIDDEN, 14]), stack('down', [EXPERTS, 7, HIDDEN]));
    const wide = upcycleExperts(dense.gateUp, dense.down, { experts: EXPERTS });
    const gate = new TopKRouter(
      new Linear(tf.tidy(() => tf.variable(tf.tensor2d(plan.gate, [HIDDEN, EXPERTS])))),
      router,
    );
    const routing = gate.route(rows);
    const [ours, theirs] = [applyExperts(rows, routing, narrow), applyExperts(rows, routing, wide)];
    const [a, b, first] = [await ours.data(), await theirs.data(), await routing.indices.data()];
    let [apart, size] = [0, 0];
    for (let i = 0; i < TOKENS * HIDDEN; i++) {
      const domain = domains[Math.floor(i / HIDDEN)]!;
      const share = domain < 0 ? 0 : 1 / domains.filter((own) => own === domain).length;
      apart += share * (a[i]! - b[i]!) ** 2;
      size += share * b[i]! ** 2;
    }
    expect(plan.difference).toBeCloseTo(Math.sqrt(apart / size), 4);
    const right = domains.filter((domain, token) => domain === first[2 * token]).length;
    expect(plan.agreement).toBeCloseTo(right / domains.filter((domain) => domain >= 0).length, 9);
    for (const part of [narrow, wide, gate]) part.dispose();
    tf.dispose([rows, { ...dense }, { ...routing }, ours, theirs]);
    expect(tf.memory().numTensors).toBe(before);
  });

  it('scales no worse than leaving the neurons as they are', async () => {
    const [rows, dense] = [draw([TOKENS, HIDDEN], 3), denseOf()];
    const { experts } = await planLayer(rows, tokens, dense, router, 10);
    for (const { neurons, scale } of experts!) {
      expect(neurons).toHaveLength(10);
      expect(scale).toBeGreaterThan(0.5);
      expect(scale).toBeLessThan(2);
    }
    tf.dispose([rows, { ...dense }]);
  });

  it('gives each expert all neurons where there is room for them', async () => {
    const [rows, dense] = [draw([TOKENS, HIDDEN], 3), denseOf()];
    expect(Object.keys(await planLayer(rows, tokens, dense, router, INNER))).toEqual(['gate', 'agreement']);
    tf.dispose([rows, { ...dense }]);
  });
});

describeOnBackends('domainGate', () => {
  it('is blind to what all domains share, and its logits have a standard deviation of 1 around their mean', async () => {
    const [rows, each] = [draw([TOKENS, HIDDEN], 3), tf.tensor2d(shares, [EXPERTS, TOKENS])];
    const gate = domainGate(rows, each);
    const { ofMean, deviation } = tf.tidy(() => {
      const logits = tf.matMul(rows, gate);
      const around = tf.square(tf.sub(logits, tf.mean(logits, 1, true)));
      return {
        ofMean: tf.matMul(tf.mean(tf.matMul(each, rows), 0, true), gate),
        deviation: tf.sqrt(tf.mean(tf.matMul(each, around))),
      };
    });
    await expectClose(ofMean, new Array(EXPERTS).fill(0), SUM);
    await expectClose(deviation, [1], SUM);
    tf.dispose([rows, each, gate, ofMean, deviation]);
  });
});

it('busiestNeurons takes the most energy of each row, in ascending order', () => {
  const energy = Float32Array.of(1, 5, 3, 9, 2, 7, 7, 0, 1, 7);
  expect(busiestNeurons(energy, 5, 3)).toEqual([
    [1, 2, 3],
    [0, 1, 4],
  ]);
});

it('dealNeurons gives no neuron twice before all are dealt, and the same for the same seed', () => {
  const dealt = dealNeurons(11, { experts: 4, size: 5, seed: 3 });
  const counts = Array.from({ length: 11 }, (_, neuron) => dealt.flat().filter((own) => own === neuron).length);
  expect(new Set(counts)).toEqual(new Set([1, 2]));
  for (const own of dealt) expect(own).toEqual([...new Set(own)].sort((a, b) => a - b));
  expect(dealNeurons(11, { experts: 4, size: 5, seed: 3 })).toEqual(dealt);
  expect(dealNeurons(11, { experts: 4, size: 5, seed: 4 })).not.toEqual(dealt);
});
