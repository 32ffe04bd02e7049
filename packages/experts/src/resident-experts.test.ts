import * as tf from '@tensorflow/tfjs-core';
import type { Routing } from '@therapeutic-moe/router';
import { describeOnBackends, expectClose, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import {
  createExperts,
  createPool,
  disposePlan,
  disposePools,
  HIDDEN,
  INTERMEDIATE,
  randomTokens,
  SUM,
  TOKENS,
} from '../test/create-pool.js';
import { applyExperts, type HostExpert, ResidentExperts, type SwiGluExperts, sortByExpert } from './index.js';

const EXPERTS = 7;
const ONE = 4 * 3 * HIDDEN * INTERMEDIATE;

/** The weights of a layer on the host, expert by expert. */
async function hostWeights(layer: SwiGluExperts): Promise<HostExpert[]> {
  const [gateUp, down] = await Promise.all([...layer.parameters().values()].map((weight) => weight.data()));
  const slice = (all: ArrayLike<number>, e: number) => {
    const size = all.length / EXPERTS;
    return Float32Array.from(all).slice(e * size, (e + 1) * size);
  };
  return Array.from({ length: EXPERTS }, (_, e) => ({ gate_up_proj: slice(gateUp, e), down_proj: slice(down, e) }));
}

async function createResident(room: number) {
  const layer = createExperts(EXPERTS);
  const host = await hostWeights(layer);
  const load = (expert: number) => host[expert]!;
  const sizes = { experts: EXPERTS, hidden: HIDDEN, intermediate: INTERMEDIATE };
  const resident = new ResidentExperts({ ...sizes, budgetBytes: room * ONE + 1, load });
  return { layer, resident, sizes, load };
}

/** Tokens that all visit the experts named, with equal weights. */
function visiting(...experts: number[]) {
  const indices = Array.from({ length: TOKENS }, () => experts).flat();
  return {
    plan: sortByExpert(indices, experts.length, EXPERTS),
    weights: tf.fill<tf.Rank.R2>([TOKENS, experts.length], 1 / experts.length),
  };
}

const route = (hidden: tf.Tensor2D): Routing => {
  const pool = createPool(EXPERTS, 2, { bias: [0, 0, 0, -100, 0, 0, 0] });
  const routing = pool.router.route(hidden);
  disposePools(pool);
  return routing;
};

describeOnBackends('ResidentExperts', () => {
  for (const room of [1, 3, EXPERTS]) {
    it(`equals the layer that has everything resident, with room for ${room}`, async () => {
      const { layer, resident } = await createResident(room);
      const hidden = randomTokens();
      const routing = route(hidden);
      const plan = sortByExpert(await routing.indices.data(), 2, EXPERTS);
      const expected = applyExperts(hidden, routing, layer);
      for (let pass = 0; pass < 2; pass++) {
        const output = resident.apply(hidden, routing.weights, plan);
        await expectClose(output, expected, SUM);
        output.dispose();
      }
      disposePlan(plan);
      tf.dispose([hidden, routing, expected]);
      layer.dispose();
      resident.dispose();
    });
  }

  it('counts loads, hits and evictions, and drops what was not used for longest', async () => {
    const { layer, resident } = await createResident(2);
    const hidden = randomTokens();
    const counts = [];
    for (const experts of [[0], [1], [0], [2], [0], [1], [2, 1]]) {
      const { plan, weights } = visiting(...experts);
      tf.dispose([resident.apply(hidden, weights, plan), weights]);
      disposePlan(plan);
      const { loads, hits, evictions } = resident.counts();
      counts.push([loads, hits, evictions]);
    }
    expect(counts).toEqual([
      [1, 0, 0],
      [2, 0, 0],
      [2, 1, 0],
      [3, 1, 1], // 1 goes, 0 was used since
      [3, 2, 1],
      [4, 2, 2], // 2 goes
      [5, 3, 3], // 1 is there and is used first; 0 goes
    ]);
    hidden.dispose();
    layer.dispose();
    resident.dispose();
  });

  it('never exceeds its budget, touches only experts with rows, and gives back all memory', async () => {
    const { layer, sizes, load } = await createResident(1);
    const hidden = randomTokens();
    const before = tf.memory().numTensors;
    for (const room of [1, 2, 5]) {
      const touched: number[] = [];
      const watched = new ResidentExperts({
        ...sizes,
        budgetBytes: (room + 0.5) * ONE,
        load: (expert) => {
          touched.push(expert);
          expect(watched.residentBytes).toBeLessThanOrEqual((room + 0.5) * ONE);
          return load(expert);
        },
      });
      const used = new Set<number>();
      for (let pass = 0; pass < 12; pass++) {
        const [a, b] = [(pass * 5 + room) % EXPERTS, (pass * pass + 1) % EXPERTS];
        const { plan, weights } = visiting(a, b);
        for (const expert of [a, b]) used.add(expert);
        const tensors = tf.memory().numTensors - 2 * (watched.residentBytes / ONE);
        const output = watched.apply(hidden, weights, plan);
        expect(watched.residentBytes).toBeLessThanOrEqual(room * ONE);
        expect(tf.memory().numTensors - 2 * (watched.residentBytes / ONE)).toBe(tensors + 1); // two per resident expert
        tf.dispose([output, weights]);
        disposePlan(plan);
      }
      const { loads, evictions } = watched.counts();
      expect(touched).toHaveLength(loads);
      expect(loads - evictions).toBe(watched.residentBytes / ONE);
      expect(new Set(touched)).toEqual(used);
      watched.dispose();
      expect(watched.residentBytes).toBe(0);
      expect(tf.memory().numTensors).toBe(before);
    }
    hidden.dispose();
    layer.dispose();
  });

  for (const [title, mask] of [
    ['padded tokens zeros', [1, 0, 1]],
    ['zeros when all tokens are padded', [0, 0, 0]],
  ] as const) {
    it(`gives ${title}`, async () => {
      const { layer, resident } = await createResident(2);
      const hidden = randomTokens(3);
      const weights = tf.ones<tf.Rank.R2>([3, 1]);
      const plan = sortByExpert([0, 1, 0], 1, EXPERTS, mask);
      const output = resident.apply(hidden, weights, plan);
      const sizes = tf.tidy(() => tf.sum(tf.abs(output), 1));
      expect([...(await sizes.data())].map((size) => Number(size > 0))).toEqual(mask);
      expect(resident.counts().loads).toBe(mask[0]); // padded tokens bring no expert
      tf.dispose([hidden, weights, output, sizes]);
      disposePlan(plan);
      layer.dispose();
      resident.dispose();
    });
  }

  it('says that it is for inference when a gradient is asked for', async () => {
    const { layer, resident } = await createResident(2);
    const hidden = randomTokens();
    const { plan, weights } = visiting(0);
    expect(() => tf.grad((x) => tf.sum(resident.apply(x as tf.Tensor2D, weights, plan)))(hidden)).toThrow(
      'ResidentExperts: inference only, a gradient was asked for; train with SwiGluExperts',
    );
    tf.dispose([hidden, weights]);
    disposePlan(plan);
    layer.dispose();
    resident.dispose();
  });

  it('leaves nothing behind but what is resident', async () => {
    const { layer, resident } = await createResident(1);
    const hidden = randomTokens();
    const { plan, weights } = visiting(0, 2, 5);
    await expectNoLeak(() => resident.apply(hidden, weights, plan));
    tf.dispose([hidden, weights]);
    disposePlan(plan);
    layer.dispose();
    resident.dispose();
  });

  it('refuses a budget below one expert, weights of other sizes and plans of other layers', async () => {
    const { layer, resident, sizes, load } = await createResident(1);
    const hidden = randomTokens();
    const { plan, weights } = visiting(2);
    expect(() => new ResidentExperts({ ...sizes, budgetBytes: ONE - 1, load })).toThrow(
      `ResidentExperts: budgetBytes is ${ONE - 1}, but one expert takes ${ONE}; give room for one at least.`,
    );
    expect(() => new ResidentExperts({ ...sizes, hidden: 0, budgetBytes: ONE, load })).toThrow(
      'hidden must be a whole number',
    );
    const short = (expert: number) => ({ ...load(expert), down_proj: new Float32Array(3) });
    const wrong = new ResidentExperts({ ...sizes, budgetBytes: ONE, load: short });
    expect(() => wrong.apply(hidden, weights, plan)).toThrow('load(2) must give 15 numbers as down_proj, got 3.');
    expect(wrong.counts()).toEqual({ loads: 0, hits: 0, evictions: 0 });
    const other = new ResidentExperts({ ...sizes, experts: 3, budgetBytes: ONE, load });
    expect(() => other.apply(hidden, weights, plan)).toThrow('the plan is of 7 experts, but there are 3.');
    tf.dispose([hidden, weights]);
    disposePlan(plan);
    layer.dispose();
    resident.dispose();
  });
});
