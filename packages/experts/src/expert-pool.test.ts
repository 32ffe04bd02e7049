import * as tf from '@tensorflow/tfjs-core';
import { TopKRouter } from '@therapeutic-moe/router';
import { describeOnBackends, expectClose, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it, vi } from 'vitest';
import {
  applyPool,
  createExperts,
  createPool,
  createScaledExperts,
  disposePools,
  HIDDEN,
  randomTokens,
  routeOnHost,
  SUM,
  TOKENS,
} from '../test/create-pool.js';
import { addExpert, type ExpertPool, mergeExperts, openExpert, pruneExperts, selectExperts } from './index.js';

/** Every weight of a pool, as numbers. */
async function weightsOf({ router, experts }: ExpertPool): Promise<number[][]> {
  const variables = [...router.parameters().values(), ...experts.parameters().values()];
  return Promise.all(variables.map(async (variable) => [...(await variable.data())]));
}

/** A softmax over one more term, 0, that vector units add in another order: the last bit. */
const ANOTHER_ORDER = 1e-6;

/** A pool of a kind that has a parameter of all experts, which every operation must carry along. */
function createScaledPool(): ExpertPool {
  const { router, experts } = createPool(5, 2);
  experts.dispose();
  return { router, experts: createScaledExperts(5) };
}

const LOAD = [0.2, 0.1, 0.4, 0, 0.3];

describeOnBackends('an operation on a pool', () => {
  for (const [name, operate] of [
    ['pruneExperts', (pool: ExpertPool) => pruneExperts(pool, LOAD, { keep: 3 })],
    ['addExpert', (pool: ExpertPool) => addExpert(pool, { from: 1, noise: { deviation: 0.1, seed: 13 } })],
    ['openExpert', (pool: ExpertPool) => openExpert(pool, { expert: 4, from: 1, share: 0.5 })],
    ['mergeExperts', (pool: ExpertPool) => mergeExperts(pool, 4, 1, LOAD)],
  ] as const) {
    it(`${name} leaves the old pool untouched and shares nothing with the new one`, async () => {
      const pool = createScaledPool();
      const before = await weightsOf(pool);
      const changed = operate(pool).pool;
      expect((await weightsOf(changed)).at(-1)).toEqual(before.at(-1)); // the shared scale
      for (const variable of [...changed.router.parameters().values(), ...changed.experts.parameters().values()]) {
        tf.tidy(() => variable.assign(tf.ones(variable.shape)));
      }
      expect(await weightsOf(pool)).toEqual(before);
      disposePools(changed);
      expect(await weightsOf(pool)).toEqual(before);
      disposePools(pool);
    });

    it(`${name} leaves nothing behind but the new pool`, async () => {
      const pool = createPool(5, 2);
      await expectNoLeak(() => disposePools(operate(pool).pool));
      disposePools(pool);
    });

    it(`${name} refuses router and experts of different layers`, () => {
      const [pool, other] = [createPool(5, 2), createPool(3, 2)];
      expect(() => operate({ router: pool.router, experts: other.experts })).toThrow(
        `${name}: the router knows 5 experts of hidden size 5, but the pool has 3 of 5`,
      );
      disposePools(pool, other);
    });
  }

  it('refuses a gate with an adapter, and a router that keeps what no expert owns', () => {
    const pool = createPool(3, 2);
    const { gate, config } = pool.router;
    const adapted = { inputSize: HIDDEN, outputSize: 3, apply: gate.apply, parameters: gate.parameters, dispose() {} };
    expect(() => pruneExperts({ ...pool, router: new TopKRouter(adapted, config) }, [1, 1, 1], { keep: 2 })).toThrow(
      "pruneExperts: the router's gate must be a plain Linear; merge and detach its adapter first.",
    );
    const strange = Object.assign(new TopKRouter(gate, config), { buffers: () => gate.parameters() });
    expect(() => pruneExperts({ ...pool, router: strange }, [1, 1, 1], { keep: 2 })).toThrow(
      "pruneExperts: the router's weight [5,3] is not one number per expert; it cannot be carried along.",
    );
    disposePools(pool);
  });

  it('carries along what the router keeps per expert, and closes it with an added expert', async () => {
    const kept = new Map<TopKRouter, tf.Variable>();
    const spy = vi.spyOn(TopKRouter.prototype, 'buffers').mockImplementation(function (this: TopKRouter) {
      if (!kept.has(this))
        kept.set(
          this,
          tf.tidy(() => tf.variable(tf.zeros([this.numExperts]))),
        );
      return new Map([['balance_bias', kept.get(this)!]]);
    });
    const pool = createPool(5, 2);
    tf.tidy(() =>
      pool.router
        .buffers()
        .get('balance_bias')!
        .assign(tf.tensor1d([1, 2, 3, 4, 5])),
    );
    const pruned = pruneExperts(pool, LOAD, { keep: 3 }).pool;
    const merged = mergeExperts(pool, 4, 1, [5, 1, 5, 5, 3]).pool;
    const grown = addExpert(pool, { from: 1 }).pool;
    const opened = openExpert(grown, { expert: 5, from: 1, share: 0.5 }).pool;
    for (const [{ router }, expected] of [
      [pruned, [1, 3, 5]],
      [merged, [1, 4.25, 3, 4]],
      [grown, [1, 2, 3, 4, 5, 2 - 1e4]],
      [opened, [1, 2, 3, 4, 5, 2]],
    ] as const) {
      await expectClose(router.buffers().get('balance_bias')!, expected, 0);
    }
    spy.mockRestore();
    tf.dispose([...kept.values()]);
    disposePools(pool, pruned, merged, grown, opened);
  });
});

describeOnBackends('pruneExperts', () => {
  it('keeps experts in their groups, and refuses to move them into others', async () => {
    const pool = createPool(6, 2, { groups: { numGroups: 2, topGroups: 1, score: 'max' } });
    const { pool: pruned, removed } = pruneExperts(pool, [5, 4, 1, 1, 6, 7], { keep: 4 });
    expect(removed).toEqual([2, 3]);
    expect(pruned.router.config.groups).toEqual({ numGroups: 2, topGroups: 1, score: 'max' });
    expect(() => pruneExperts(pool, [5, 4, 3, 1, 1, 7], { keep: 4 })).toThrow(
      'pruneExperts: the router chooses within 2 groups, and 4 experts would not lie in the groups they came from',
    );
    disposePools(pool, pruned);
  });

  it('keeps the most used experts with their gate columns, and says what is lost', async () => {
    const pool = createPool(5, 2, { bias: [1, 2, 3, 4, 5] });
    const { pool: pruned, removed, lostLoad, origins } = pruneExperts(pool, LOAD, { keep: 3 });
    expect([removed, origins]).toEqual([
      [1, 3],
      [[0], [2], [4]],
    ]);
    expect(lostLoad).toBeCloseTo(0.1, 12);
    const expected = selectExperts(pool.experts, [0, 2, 4]);
    for (const [name, variable] of expected.parameters()) {
      await expectClose(pruned.experts.parameters().get(name)!, variable, 0);
    }
    const columns = tf.gather(pool.router.parameters().get('weight')! as tf.Tensor, [0, 2, 4], 1);
    await expectClose(pruned.router.parameters().get('weight')!, columns, 0);
    await expectClose(pruned.router.parameters().get('bias')!, [1, 3, 5], 0);
    columns.dispose();
    expected.dispose();
    disposePools(pool, pruned);
  });

  it('changes nothing when nobody chose what it removes', async () => {
    const [pool, hidden] = [createPool(5, 2, { bias: [0, -100, 0, -100, 0] }), randomTokens()];
    const { pool: pruned, removed, lostLoad } = pruneExperts(pool, [4, 0, 9, 0, 9], { minLoad: 0.01 });
    expect([removed, lostLoad, pruned.router.numExperts]).toEqual([[1, 3], 0, 3]);
    const [before, after] = [applyPool(pool, hidden), applyPool(pruned, hidden)];
    await expectClose(after, before, SUM);
    tf.dispose([hidden, before, after]);
    disposePools(pool, pruned);
  });

  it('sends the tokens of a removed expert to the best that remain', async () => {
    const [pool, hidden] = [createPool(5, 2), randomTokens()];
    const { probabilities } = await routeOnHost(pool, hidden);
    const pruned = pruneExperts(pool, [1, 0, 1, 0, 1], { keep: 3 });
    const { indices } = await routeOnHost(pruned.pool, hidden);
    const chosen = indices.map((expert) => pruned.origins[expert]![0]);
    const best = Array.from({ length: TOKENS }, (_, t) =>
      [0, 2, 4].sort((a, b) => probabilities[t * 5 + b]! - probabilities[t * 5 + a]!).slice(0, 2),
    );
    expect(chosen).toEqual(best.flat());
    hidden.dispose();
    disposePools(pool, pruned.pool);
  });

  it('refuses to keep fewer experts than a token visits, and rules and loads that mean nothing', () => {
    const pool = createPool(5, 3);
    expect(() => pruneExperts(pool, LOAD, { keep: 2 })).toThrow(
      'pruneExperts: 2 experts would remain, but a token visits 3 (numExpertsPerTok); keep at least 3, or first make',
    );
    expect(() => pruneExperts(pool, LOAD, { keep: 6 })).toThrow(
      'keep must be a whole number from 1 to 5 experts, got 6',
    );
    expect(() => pruneExperts(pool, LOAD, { minLoad: 0 })).toThrow('minLoad is a share above 0 and up to 1, got 0');
    expect(() => pruneExperts(pool, [1, 2], { keep: 3 })).toThrow('load must have one number per expert, 5, got 2');
    expect(() => pruneExperts(pool, [1, 2, -1, 0, 0], { keep: 3 })).toThrow('load of expert 2 is -1');
    expect(() => pruneExperts(pool, [0, 0, 0, 0, 0], { keep: 3 })).toThrow("every expert's load is 0");
    disposePools(pool);
  });
});

describeOnBackends('addExpert', (backend) => {
  for (const { tolerance, ...settings } of [
    { softmaxOrder: 'after-top-k', normTopkProb: true, tolerance: 0 },
    { softmaxOrder: 'before-top-k', normTopkProb: true, tolerance: ANOTHER_ORDER },
    { softmaxOrder: 'before-top-k', normTopkProb: false, tolerance: ANOTHER_ORDER },
  ] as const) {
    const { softmaxOrder, normTopkProb } = settings;
    it(`changes ${tolerance ? 'nothing but rounding' : 'no bit of the output'}: ${softmaxOrder}, normTopkProb ${normTopkProb}`, async () => {
      const [pool, hidden] = [createPool(7, 2, settings), randomTokens()];
      const { pool: grown, origins } = addExpert(pool, { from: 1, noise: { deviation: 0.5, seed: 13 } });
      expect(origins).toEqual([[0], [1], [2], [3], [4], [5], [6], [1]]);
      const [before, after] = [applyPool(pool, hidden), applyPool(grown, hidden)];
      await expectClose(after, before, backend === 'cpu' ? 0 : tolerance);
      const { probabilities } = await routeOnHost(grown, hidden);
      expect(probabilities.filter((_, i) => i % 8 === 7)).toEqual(new Array(TOKENS).fill(0));
      tf.dispose([hidden, before, after]);
      disposePools(pool, grown);
    });
  }

  it('copies an expert and its gate exactly, and perturbs only the copy when asked', async () => {
    const pool = createPool(3, 2);
    const grown = [addExpert(pool, { from: 2 }), addExpert(pool, { from: 2, noise: { deviation: 0.1, seed: 13 } })];
    const [exact, noisy] = await Promise.all(grown.map(async ({ pool }) => weightsOf(pool)));
    const [gate, , gateUp] = exact!;
    const column = (e: number) => gate!.filter((_, i) => i % 4 === e);
    expect(column(3)).toEqual(column(2));
    const size = gateUp!.length / 4;
    expect(gateUp!.slice(3 * size)).toEqual(gateUp!.slice(2 * size, 3 * size));
    expect(noisy![2]!.slice(0, 3 * size)).toEqual(gateUp!.slice(0, 3 * size));
    const moved = noisy![2]!.slice(3 * size).map((value, i) => Math.abs(value - gateUp![3 * size + i]!));
    expect(Math.max(...moved)).toBeGreaterThan(0.01);
    expect(Math.max(...moved)).toBeLessThan(1);
    disposePools(pool, ...grown.map(({ pool }) => pool));
  });

  it('refuses an expert that is not there, and noise that is none', () => {
    const pool = createPool(3, 2);
    expect(() => addExpert(pool, { from: 3 })).toThrow('addExpert: there is no expert 3; experts are 0 to 2.');
    expect(() => addExpert(pool, { from: 0, noise: { deviation: 0, seed: 1 } })).toThrow(
      'noise: deviation must be above 0, got 0; leave noise out for exact copies.',
    );
    disposePools(pool);
  });
});

describeOnBackends('openExpert', () => {
  it('splits the probability of the origin as told, and leaves all others as they were', async () => {
    const [pool, hidden] = [createPool(3, 2, { bias: [0.3, -0.2, 0.1] }), randomTokens()];
    const grown = addExpert(pool, { from: 1 }).pool;
    const opened = openExpert(grown, { expert: 3, from: 1, share: 0.25 }).pool;
    const [before, after] = [await routeOnHost(pool, hidden), await routeOnHost(opened, hidden)];
    const expected = Array.from({ length: TOKENS }, (_, t) => {
      const [p, q, r] = before.probabilities.slice(3 * t, 3 * t + 3);
      return [p!, 0.75 * q!, r!, 0.25 * q!];
    });
    await expectClose(after.probabilities, expected.flat(), 1e-6);
    hidden.dispose();
    disposePools(pool, grown, opened);
  });

  it('gives the added expert a gradient, which it has not while closed', async () => {
    const [pool, hidden] = [createPool(3, 2), randomTokens()];
    const grown = addExpert(pool, { from: 1 }).pool;
    const opened = openExpert(grown, { expert: 3, from: 1, share: 0.5, noise: { deviation: 0.3, seed: 17 } }).pool;
    const sizes: number[] = [];
    for (const each of [grown, opened]) {
      const down = each.experts.parameters().get('down_proj')!;
      const ofLast = tf.tidy(() => {
        const { grads } = tf.variableGrads(() => tf.sum(tf.square(applyPool(each, hidden))) as tf.Scalar, [down]);
        return tf.sum(tf.abs(tf.slice(grads[down.name]!, [3, 0, 0])));
      });
      sizes.push((await ofLast.data())[0]!);
      ofLast.dispose();
    }
    expect(sizes[0]).toBe(0);
    expect(sizes[1]).toBeGreaterThan(0.01);
    hidden.dispose();
    disposePools(pool, grown, opened);
  });

  it('refuses one expert for both parts, and a share that is none', () => {
    const pool = createPool(3, 2);
    expect(() => openExpert(pool, { expert: 1, from: 1, share: 0.5 })).toThrow('expert and from are both 1');
    expect(() => openExpert(pool, { expert: 1, from: 5, share: 0.5 })).toThrow('openExpert: there is no expert 5');
    expect(() => openExpert(pool, { expert: 1, from: 0, share: 1 })).toThrow('share must lie between 0 and 1, got 1');
    disposePools(pool);
  });
});

describeOnBackends('mergeExperts', () => {
  it('averages weights and gate columns by load, and leaves the others as they were', async () => {
    const pool = createPool(5, 2, { bias: [1, 2, 3, 4, 5] });
    const { pool: smaller, merged, weights, origins } = mergeExperts(pool, 4, 1, [5, 1, 5, 5, 3]);
    expect([merged, weights, origins]).toEqual([1, [0.75, 0.25], [[0], [4, 1], [2], [3]]]);
    for (const [name, variable] of pool.experts.parameters()) {
      const expected = tf.tidy(() => {
        const parts = tf.split(variable as tf.Tensor, 5);
        parts[1] = tf.add(tf.mul(parts[4]!, 0.75), tf.mul(parts[1]!, 0.25));
        return tf.concat(parts.slice(0, 4));
      });
      await expectClose(smaller.experts.parameters().get(name)!, expected, 1e-6);
      expected.dispose();
    }
    const entropy = -0.75 * Math.log(0.75) - 0.25 * Math.log(0.25);
    await expectClose(smaller.router.parameters().get('bias')!, [1, 0.75 * 5 + 0.25 * 2 + entropy, 3, 4], 1e-6);
    disposePools(pool, smaller);
  });

  it('undoes an even split: probabilities add up and the output is as before', async () => {
    const [pool, hidden] = [createPool(3, 1), randomTokens()];
    const grown = addExpert(pool, { from: 1 }).pool;
    const opened = openExpert(grown, { expert: 3, from: 1, share: 0.5 }).pool;
    const merged = mergeExperts(opened, 1, 3, [1, 1, 1, 1]).pool;
    const [first, last] = [await routeOnHost(pool, hidden), await routeOnHost(merged, hidden)];
    await expectClose(last.probabilities, first.probabilities, 1e-6);
    expect(last.indices).toEqual(first.indices);
    const [before, after] = [applyPool(pool, hidden), applyPool(merged, hidden)];
    await expectClose(after, before, SUM);
    tf.dispose([hidden, before, after]);
    disposePools(pool, grown, opened, merged);
  });

  it('never makes the merged expert likelier than the two were together', async () => {
    const [pool, hidden] = [createPool(5, 2), randomTokens()];
    const { pool: smaller, merged } = mergeExperts(pool, 0, 3, LOAD);
    const logits = await Promise.all(
      [pool, smaller].map(async ({ router }) => {
        const routing = router.route(hidden);
        const values = [...(await routing.logits.data())];
        tf.dispose(routing);
        return values;
      }),
    );
    for (let t = 0; t < TOKENS; t++) {
      const [a, b] = [logits[0]![t * 5]!, logits[0]![t * 5 + 3]!];
      expect(logits[1]![t * 4 + merged]!).toBeLessThanOrEqual(Math.log(Math.exp(a) + Math.exp(b)) + SUM);
    }
    hidden.dispose();
    disposePools(pool, smaller);
  });

  it('weighs two unused experts alike, and refuses one expert twice and too small a rest', () => {
    const pool = createPool(3, 3);
    expect(() => mergeExperts(pool, 1, 1, [1, 1, 1])).toThrow('mergeExperts: a and b are both 1; name two experts.');
    expect(() => mergeExperts(pool, 0, 1, [1, 1, 1])).toThrow('2 experts would remain, but a token visits 3');
    const wide = createPool(3, 2);
    const { pool: merged, weights } = mergeExperts(wide, 0, 1, [0, 0, 7]);
    expect(weights).toEqual([0.5, 0.5]);
    disposePools(pool, wide, merged);
  });
});

describeOnBackends('selectExperts', () => {
  it('copies experts in the order given, and refuses a stranger', async () => {
    const experts = createExperts(3);
    const turned = selectExperts(experts, [2, 0]);
    const hidden = randomTokens(2);
    const visits = tf.ones<tf.Rank.R1>([2]);
    const [expected, actual] = [experts.applyExpert(hidden, 2), turned.applyExpert(hidden, 0, visits)];
    await expectClose(actual, expected, 0);
    expect([turned.experts, turned.hidden]).toEqual([2, HIDDEN]);
    expect(() => selectExperts(experts, [3])).toThrow('selectExperts: there is no expert 3');
    tf.dispose([hidden, visits, expected, actual]);
    experts.dispose();
    turned.dispose();
  });
});
