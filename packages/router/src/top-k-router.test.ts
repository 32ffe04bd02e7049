import * as tf from '@tensorflow/tfjs-core';
import { Linear } from '@therapeutic-moe/nn';
import { describeOnBackends, expectClose, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { type RouterConfig, TopKRouter } from './index.js';

const HIDDEN = 5;
const EXPERTS = 7;
const TOKENS = 11;
const K = 3;
/** Of the central difference: so small that no token changes its choice. */
const STEP = 1e-3;

/** The same seed gives the same gate, so routers with different settings can be compared. */
function createRouter(settings: Partial<RouterConfig> = {}): TopKRouter {
  const gate = Linear.create(HIDDEN, EXPERTS, { deviation: 1, seed: 2 });
  return new TopKRouter(gate, {
    numExperts: EXPERTS,
    numExpertsPerTok: K,
    softmaxOrder: 'before-top-k',
    normTopkProb: true,
    ...settings,
  });
}

const tokens = () => tf.randomNormal<tf.Rank.R2>([TOKENS, HIDDEN], 0, 1, 'float32', 3);

describeOnBackends('TopKRouter', () => {
  it('sends each token to exactly its k most likely experts, best first', async () => {
    const [router, hidden] = [createRouter(), tokens()];
    const routing = router.route(hidden);
    const [probabilities, indices] = [await routing.probabilities.data(), await routing.indices.data()];
    expect(routing.indices.dtype).toBe('int32');
    for (let t = 0; t < TOKENS; t++) {
      const row = [...probabilities.slice(t * EXPERTS, (t + 1) * EXPERTS)];
      const byLikelihood = row.map((_, e) => e).sort((a, b) => row[b]! - row[a]!);
      expect([...indices.slice(t * K, (t + 1) * K)], `token ${t}`).toEqual(byLikelihood.slice(0, K));
    }
    tf.dispose([hidden, routing]);
    router.dispose();
  });

  it('weighs alike in both softmax orders when renormalised, and its weights sum to 1', async () => {
    const hidden = tokens();
    const routers = [createRouter(), createRouter({ softmaxOrder: 'after-top-k' })];
    const [before, after] = routers.map((router) => router.route(hidden));
    await expectClose(before!.weights, after!.weights, 1e-6);
    const sums = tf.sum(before!.weights, 1);
    await expectClose(sums, new Array(TOKENS).fill(1), 1e-6);
    tf.dispose([hidden, before!, after!, sums]);
    for (const router of routers) router.dispose();
  });

  it('keeps the probabilities themselves when not renormalised', async () => {
    const hidden = tokens();
    const routers = [createRouter(), createRouter({ normTopkProb: false })];
    const [normed, plain] = routers.map((router) => router.route(hidden));
    const largest = tf.topk(plain!.probabilities, K).values;
    await expectClose(plain!.weights, largest, 0);
    const [sums, gap] = [tf.sum(plain!.weights, 1), tf.max(tf.abs(tf.sub(normed!.weights, plain!.weights)))];
    for (const sum of await sums.data()) expect(sum).toBeLessThan(1);
    expect((await gap.data())[0]).toBeGreaterThan(0.01);
    tf.dispose([hidden, normed!, plain!, largest, sums, gap]);
    for (const router of routers) router.dispose();
  });

  it('lets gradients reach the gate through the weights, and equal central differences', async () => {
    const [router, hidden] = [createRouter(), tokens()];
    const weight = router.gate.parameters().get('weight')!;
    const factors = tf.randomNormal([TOKENS, K], 0, 1, 'float32', 5);
    const loss = () => tf.tidy(() => tf.sum(tf.mul(router.route(hidden).weights, factors)) as tf.Scalar);
    const { value, grads } = tf.variableGrads(loss, [weight]);
    const gradient = await grads[weight.name]!.data();
    const values = Float32Array.from(await weight.data());
    const lossWith = async (at: number, change: number) => {
      const moved = values.slice();
      moved[at]! += change;
      tf.tidy(() => weight.assign(tf.tensor(moved, weight.shape)));
      const scalar = loss();
      const [number] = await scalar.data();
      scalar.dispose();
      return number!;
    };
    for (const at of [0, 8, 13, 34]) {
      const slope = ((await lossWith(at, STEP)) - (await lossWith(at, -STEP))) / (2 * STEP);
      expect(gradient[at], `gate weight ${at}`).toBeCloseTo(slope, 3);
    }
    expect(gradient.some((slope) => Math.abs(slope) > 0.01)).toBe(true);
    tf.dispose([hidden, factors, value, grads]);
    router.dispose();
  });

  it('leaves nothing behind but what it returns', async () => {
    const [router, hidden] = [createRouter(), tokens()];
    await expectNoLeak(() => router.route(hidden));
    hidden.dispose();
    router.dispose();
  });

  it('refuses a gate and hidden states of other sizes', () => {
    const gate = Linear.create(HIDDEN, 3, { seed: 1 });
    const config: RouterConfig = {
      numExperts: 7,
      numExpertsPerTok: 2,
      softmaxOrder: 'after-top-k',
      normTopkProb: true,
    };
    expect(() => new TopKRouter(gate, config)).toThrow('the gate gives 3 logits but numExperts is 7');
    const [router, wide] = [createRouter(), tf.ones<tf.Rank.R2>([2, 3])];
    expect(() => router.route(wide)).toThrow('router.route: hidden must be [tokens, 5], got [2, 3].');
    wide.dispose();
    gate.dispose();
    router.dispose();
  });
});
