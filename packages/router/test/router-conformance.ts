import * as tf from '@tensorflow/tfjs-core';
import { describeOnBackends, expectClose, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import type { RoutePass, Router, Routing } from '../src/index.js';

/** float32 sums of a dozen numbers. */
const CLOSE = 1e-5;
/** Of the central difference: so small that no token changes its choice. */
const STEP = 1e-3;
const sequences = { batch: 2, seq: 11 };
const TOKENS = 22;

export const HIDDEN = 6;

/**
 * What every router promises.
 *
 * @param create makes a router for `HIDDEN` numbers whose weights are renormalised; the same one every time.
 */
export function describeRouter(name: string, create: () => Router): void {
  describeOnBackends(`${name} as a Router`, () => {
    const hidden = () => tf.randomNormal<tf.Rank.R2>([TOKENS, HIDDEN], 0, 1, 'float32', 3);
    const withRouting = async (pass: RoutePass, check: (routing: Routing, router: Router) => Promise<void>) => {
      const [router, x] = [create(), hidden()];
      const routing = router.route(x, { sequences, ...pass });
      await check(routing, router);
      tf.dispose([x, routing]);
      router.dispose();
    };

    it('sends each token to k different experts, the heaviest first, with weights that sum to 1', () =>
      withRouting({}, async ({ indices, weights }, { numExperts, numExpertsPerTok: k }) => {
        expect(indices.dtype).toBe('int32');
        expect(indices.shape).toEqual([TOKENS, k]);
        const [chosen, shares] = [await indices.data(), await weights.data()];
        for (let t = 0; t < TOKENS; t++) {
          const experts = [...chosen.slice(t * k, (t + 1) * k)];
          expect(new Set(experts).size, `token ${t}`).toBe(k);
          expect(experts.every((e) => e >= 0 && e < numExperts)).toBe(true);
          const row = [...shares.slice(t * k, (t + 1) * k)];
          expect(row.reduce((sum, w) => sum + w)).toBeCloseTo(1, 5);
          expect([...row].sort((a, b) => b - a)).toEqual(row);
        }
      }));

    it('gives probabilities that sum to 1 and are the softmax of its logits', () =>
      withRouting({}, async ({ logits, probabilities, gates }) => {
        const [softmax, sums] = [tf.softmax(logits), tf.sum(probabilities, 1)];
        await expectClose(softmax, probabilities, CLOSE);
        await expectClose(sums, new Array(TOKENS).fill(1), CLOSE);
        expect(gates.length).toBeGreaterThan(0);
        for (const gate of gates) expect(gate.shape[0]).toBe(TOKENS);
        tf.dispose([softmax, sums]);
      }));

    it('gives padded tokens no weight', async () => {
      const mask = tf.tensor1d(Array.from({ length: TOKENS }, (_, t) => (t % 11 < 7 ? 1 : 0)));
      await withRouting({ mask }, async ({ weights }) => {
        const sums = tf.sum(weights, 1);
        await expectClose(sums, mask, CLOSE);
        sums.dispose();
      });
      mask.dispose();
    });

    it('repeats forced choices, weighing them by its own gate', () =>
      withRouting({}, async (free, router) => {
        const k = router.numExpertsPerTok;
        const forced = Array.from(
          { length: TOKENS * k },
          (_, i) => ((Math.floor(i / k) % router.numExperts) + (i % k)) % router.numExperts,
        );
        const [replay, x] = [tf.tensor2d(forced, [TOKENS, k], 'int32'), hidden()];
        const routing = router.route(x, { sequences, replay });
        expect([...(await routing.indices.data())]).toEqual(forced);
        const p = await free.probabilities.data();
        const chosen = forced.map((e, i) => p[Math.floor(i / k) * router.numExperts + e]!);
        const sums = Array.from({ length: TOKENS }, (_, t) => chosen.slice(t * k, t * k + k).reduce((a, b) => a + b));
        await expectClose(
          routing.weights,
          chosen.map((share, i) => share / sums[Math.floor(i / k)]!),
          CLOSE,
        );
        tf.dispose([replay, x, routing]);
      }));

    it('repeats itself without a seed and with the same one', async () => {
      const [router, x] = [create(), hidden()];
      for (const seed of [undefined, 5]) {
        const [a, b] = [router.route(x, { sequences, seed }), router.route(x, { sequences, seed })];
        await expectClose(a.weights, b.weights, 0);
        tf.dispose([a, b]);
      }
      x.dispose();
      router.dispose();
    });

    it('trains every parameter by gradients that equal central differences', async () => {
      const [router, x] = [create(), hidden()];
      const factors = tf.randomNormal([TOKENS, router.numExpertsPerTok], 0, 1, 'float32', 5);
      const replay = tf.tidy(() => tf.clone(router.route(x, { sequences }).indices));
      const loss = () =>
        tf.tidy(() => tf.sum(tf.mul(router.route(x, { sequences, replay }).weights, factors)) as tf.Scalar);
      const { value, grads } = tf.variableGrads(loss, [...router.parameters().values()]);
      for (const [path, variable] of router.parameters()) {
        const gradient = Array.from(await grads[variable.name]!.data());
        const at = gradient.reduce((best, slope, i) => (Math.abs(slope) > Math.abs(gradient[best]!) ? i : best), 0);
        const slope = await slopeAt(variable, at, loss);
        expect(Math.abs(slope), `${path} is trained`).toBeGreaterThan(0.01);
        await expectClose([gradient[at]!], [slope], 1e-2);
      }
      tf.dispose([x, factors, replay, value, grads]);
      router.dispose();
    });

    it('leaves nothing behind but what it returns', async () => {
      const [router, x] = [create(), hidden()];
      await expectNoLeak(() => router.route(x, { sequences, seed: 2 }));
      x.dispose();
      router.dispose();
      expect([...router.parameters().values()].every((variable) => variable.isDisposed)).toBe(true);
    });

    it('refuses hidden states and passes of other sizes', () => {
      const [router, x] = [create(), hidden()];
      const k = router.numExpertsPerTok;
      const [wide, short, floats] = [
        tf.ones<tf.Rank.R2>([2, 3]),
        tf.ones<tf.Rank.R1>([3]),
        tf.ones<tf.Rank.R2>([TOKENS, k]),
      ];
      const forced = tf.zeros<tf.Rank.R2>([3, k], 'int32');
      expect(() => router.route(wide, { sequences })).toThrow('router.route: hidden must be [tokens, 6], got [2, 3].');
      expect(() => router.route(x, { sequences, mask: short })).toThrow(
        'router.route: pass.mask must be [22], got [3].',
      );
      expect(() => router.route(x, { sequences, replay: forced })).toThrow(
        `router.route: pass.replay must be [22, ${k}], got [3, ${k}].`,
      );
      expect(() => router.route(x, { sequences, replay: floats })).toThrow('pass.replay must be int32, got float32');
      expect(() => router.route(x, { sequences: { batch: 3, seq: 5 } })).toThrow(
        'pass.sequences has batch 3 * seq 5, but hidden has 22 tokens',
      );
      tf.dispose([x, wide, short, floats, forced]);
      router.dispose();
    });
  });
}

async function slopeAt(variable: tf.Variable, at: number, loss: () => tf.Scalar): Promise<number> {
  const values = Float32Array.from(await variable.data());
  const lossWith = async (change: number) => {
    const moved = values.slice();
    moved[at]! += change;
    tf.tidy(() => variable.assign(tf.tensor(moved, variable.shape)));
    const scalar = loss();
    const [number] = await scalar.data();
    scalar.dispose();
    return number!;
  };
  const slope = ((await lossWith(STEP)) - (await lossWith(-STEP))) / (2 * STEP);
  await lossWith(0);
  return slope;
}
