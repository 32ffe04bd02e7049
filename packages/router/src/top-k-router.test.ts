import * as tf from '@tensorflow/tfjs-core';
import { Linear } from '@therapeutic-moe/nn';
import { describeOnBackends, expectClose, expectGradient, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { expertLoad, type RouterConfig, TopKRouter } from './index.js';

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

  it('gives the weights of softmax before top-k, after it, and of sigmoid, by hand', async () => {
    // Odds 4 : 2 : 1 : 1, so softmax gives 1/2, 1/4, 1/8, 1/8.
    const odds = [4, 2, 1, 1];
    const gate = new Linear(tf.tidy(() => tf.variable(tf.tensor2d([odds.map(Math.log)]))));
    const one = tf.ones<tf.Rank.R2>([1, 1]);
    const weightsWith = async (settings: Partial<RouterConfig>) => {
      const router = new TopKRouter(gate, {
        numExperts: 4,
        numExpertsPerTok: 2,
        softmaxOrder: 'before-top-k',
        normTopkProb: false,
        ...settings,
      });
      const routing = router.route(one);
      const weights = Array.from(await routing.weights.data());
      tf.dispose(routing);
      return weights;
    };
    await expectClose(await weightsWith({}), [1 / 2, 1 / 4], 1e-6);
    await expectClose(await weightsWith({ softmaxOrder: 'after-top-k', normTopkProb: true }), [2 / 3, 1 / 3], 1e-6);
    // sigmoid(log o) = o / (1 + o): 4/5 and 2/3.
    await expectClose(await weightsWith({ scoring: 'sigmoid' }), [4 / 5, 2 / 3], 1e-6);
    const scaled = { scoring: 'sigmoid', normTopkProb: true, routedScalingFactor: 2.5 } as const;
    await expectClose(await weightsWith(scaled), [(2.5 * 12) / 22, (2.5 * 10) / 22], 1e-6);
    one.dispose();
    gate.dispose();
  });

  it('has weights whose gradients equal central differences in every scoring, 0 where padded', async () => {
    const [hidden, mask] = [tf.randomNormal<tf.Rank.R2>([3, HIDDEN], 0, 1, 'float32', 7), tf.tensor1d([1, 0, 1])];
    for (const settings of [
      { normTopkProb: false },
      { scoring: 'sigmoid', normTopkProb: false, routedScalingFactor: 2.5 },
      { scoring: 'sigmoid', groups: { numGroups: 7, topGroups: 5, score: 'max' }, balanceBias: true },
    ] as const) {
      const router = createRouter(settings);
      const replay = tf.tidy(() => tf.clone(router.route(hidden).indices));
      await expectGradient((x) => router.route(x as tf.Tensor2D, { replay, mask }).weights, [hidden]);
      const free = tf.tidy(() => tf.grad((x) => router.route(x as tf.Tensor2D, { mask }).weights)(hidden));
      const forced = tf.tidy(() => tf.grad((x) => router.route(x as tf.Tensor2D, { replay, mask }).weights)(hidden));
      await expectClose(free, forced, 1e-6);
      tf.dispose([replay, free, forced]);
      router.dispose();
    }
    tf.dispose([hidden, mask]);
  });

  it('keeps renormalised weights finite where all chosen probabilities are 0 in float32', async () => {
    const gate = new Linear(tf.tidy(() => tf.variable(tf.tensor2d([[0, -200, -201]]))));
    const router = new TopKRouter(gate, {
      numExperts: 3,
      numExpertsPerTok: 2,
      softmaxOrder: 'before-top-k',
      normTopkProb: true,
    });
    const [one, replay] = [tf.ones<tf.Rank.R2>([1, 1]), tf.tensor2d([[1, 2]], [1, 2], 'int32')];
    const routing = router.route(one, { replay });
    await expectClose(routing.weights, [Math.E / (1 + Math.E), 1 / (1 + Math.E)], 1e-5);
    tf.dispose([one, replay, routing]);
    router.dispose();
  });

  it('adds noise only where a pass has a seed, other noise for another seed', async () => {
    const hidden = tokens();
    for (const settings of [{ routerJitterNoise: 0.3 }, { gateNoise: 0.5 }]) {
      const [plain, noisy] = [createRouter(), createRouter(settings)];
      const routings = [
        plain.route(hidden, { seed: 5 }),
        noisy.route(hidden),
        noisy.route(hidden, { seed: 5 }),
        noisy.route(hidden, { seed: 7 }),
      ];
      const [quiet, unseeded, five, seven] = routings.map(({ logits }) => logits);
      await expectClose(unseeded!, quiet!, 0);
      for (const other of [quiet!, seven!]) {
        const gap = tf.max(tf.abs(tf.sub(five!, other)));
        expect((await gap.data())[0]).toBeGreaterThan(0.01);
        gap.dispose();
      }
      tf.dispose(routings);
      plain.dispose();
      noisy.dispose();
    }
    hidden.dispose();
  });

  it('jitters within its bounds and keeps the raw gate apart from noise', async () => {
    const gate = new Linear(tf.tidy(() => tf.variable(tf.ones([1, 3]))));
    const router = new TopKRouter(gate, {
      numExperts: 3,
      numExpertsPerTok: 2,
      softmaxOrder: 'before-top-k',
      normTopkProb: true,
      routerJitterNoise: 0.1,
      gateNoise: 1,
    });
    const hidden = tf.ones<tf.Rank.R2>([101, 1]);
    const routing = router.route(hidden, { seed: 3 });
    const gates = await routing.gates[0]!.data();
    expect(Math.min(...gates)).toBeGreaterThanOrEqual(0.9);
    expect(Math.max(...gates)).toBeLessThanOrEqual(1.1);
    expect(Math.max(...gates) - Math.min(...gates)).toBeGreaterThan(0.15);
    expect(Math.max(...(await routing.logits.data()))).toBeGreaterThan(2);
    tf.dispose([hidden, routing]);
    router.dispose();
  });

  it('changes choices by its bias and never their weights', async () => {
    const [plain, biased, hidden] = [
      createRouter({ normTopkProb: false }),
      createRouter({ normTopkProb: false, balanceBias: true }),
      tokens(),
    ];
    const before = biased.route(hidden);
    const untouched = plain.route(hidden);
    await expectClose(before.weights, untouched.weights, 0);
    tf.tidy(() => biased.balanceBias!.assign(tf.tensor1d([0, 0, 0, 0, 0, 0, 2])));
    const after = biased.route(hidden);
    const firsts = tf.slice2d(after.indices, [0, 0], [-1, 1]);
    expect([...(await firsts.data())]).toEqual(new Array(TOKENS).fill(6));
    await expectClose(after.probabilities, untouched.probabilities, 0);
    const weights = tf.tidy(() =>
      tf.sub(tf.slice2d(after.weights, [0, 0], [-1, 1]), tf.slice2d(after.probabilities, [0, 6], [-1, 1])),
    );
    await expectClose(weights, new Array(TOKENS).fill(0), 1e-6);
    expect([...biased.buffers().keys()]).toEqual(['e_score_correction_bias']);
    expect(plain.buffers().size).toBe(0);
    expect(biased.balanceBias!.trainable).toBe(false);
    tf.dispose([hidden, before, untouched, after, firsts, weights]);
    plain.dispose();
    biased.dispose();
  });

  it('moves its bias against the load until an unbalanced gate is balanced', async () => {
    const [router, hidden] = [
      createRouter({ balanceBias: true }),
      tf.randomNormal<tf.Rank.R2>([101, HIDDEN], 1, 1, 'float32', 3),
    ];
    const spread = async () => {
      const gap = tf.tidy(() => {
        const load = expertLoad(router.route(hidden));
        return tf.sub(tf.max(load), tf.min(load));
      });
      const [value] = await gap.data();
      gap.dispose();
      return value!;
    };
    const before = await spread();
    const load = tf.tensor1d([5, 1, 1, 1, 1, 1, 1 / 2]);
    router.updateBias(load, 0.25);
    await expectClose(router.balanceBias!, [-0.25, ...new Array(6).fill(0.25)], 0);
    tf.tidy(() => router.balanceBias!.assign(tf.zeros([EXPERTS])));
    for (let step = 1; step <= 29; step++) {
      tf.tidy(() => router.updateBias(expertLoad(router.route(hidden)), 0.1 / step));
    }
    expect(await spread()).toBeLessThan(before / 3);
    await expectNoLeak(() => router.updateBias(load, 0.25));
    tf.dispose([hidden, load]);
    router.dispose();
  });

  it('refuses to update a bias it does not have, or by a load or rate that do not fit', () => {
    const [plain, biased] = [createRouter(), createRouter({ balanceBias: true })];
    const [load, short] = [tf.ones<tf.Rank.R1>([EXPERTS]), tf.ones<tf.Rank.R1>([3])];
    expect(() => plain.updateBias(load, 0.1)).toThrow('this router has no bias; set balanceBias to true');
    expect(() => biased.updateBias(short, 0.1)).toThrow('router.updateBias: load must be [7], got [3].');
    expect(() => biased.updateBias(load, 0)).toThrow('rate must be a number above 0, got 0; DeepSeek-V3 uses 0.001');
    tf.dispose([load, short]);
    plain.dispose();
    biased.dispose();
  });

  it('sends every token to the only expert there is', async () => {
    const router = new TopKRouter(Linear.create(HIDDEN, 1, { seed: 2 }), {
      numExperts: 1,
      numExpertsPerTok: 1,
      softmaxOrder: 'before-top-k',
      normTopkProb: true,
    });
    const hidden = tokens();
    const routing = router.route(hidden);
    await expectClose(routing.weights, new Array(TOKENS).fill(1), 1e-6);
    expect([...(await routing.indices.data())]).toEqual(new Array(TOKENS).fill(0));
    tf.dispose([hidden, routing]);
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
