import * as tf from '@tensorflow/tfjs-core';
import { Linear } from '@therapeutic-moe/nn';
import { describeOnBackends, expectClose } from '@therapeutic-moe/test-kit';
import { describe, expect, it } from 'vitest';
import { type Routing, type SequenceCache, type SupervisorConfig, SupervisorRouter } from './index.js';

/** float32 attention in another order of summing. */
const CLOSE = 1e-5;
const [HIDDEN, BATCH, SEQ] = [6, 2, 7];
const sequences = { batch: BATCH, seq: SEQ };
const config: SupervisorConfig = {
  numExperts: 32,
  numExpertsPerTok: 3,
  numAttentionHeads: 2,
  causal: true,
  normTopkProb: true,
  cacheKey: 'layers.5.router',
};

const create = (change: Partial<SupervisorConfig> = {}) =>
  SupervisorRouter.create({ hiddenSize: HIDDEN, gateSize: 11 }, { ...config, ...change }, { deviation: 0.7, seed: 3 });

/** `[BATCH * SEQ, HIDDEN]` as rows. */
const rows = Array.from({ length: BATCH * SEQ }, (_, t) =>
  Array.from({ length: HIDDEN }, (_, i) => Math.fround(Math.sin(1 + 3 * t + i * i))),
);

/** A cache that grows by concatenation; one per test. */
class GrowingCache implements SequenceCache {
  readonly held = new Map<string, { k: tf.Tensor4D; v: tf.Tensor4D }>();

  append(key: string, k: tf.Tensor4D, v: tf.Tensor4D): { k: tf.Tensor4D; v: tf.Tensor4D } {
    const old = this.held.get(key);
    const grown = {
      k: tf.keep(old ? tf.concat4d([old.k, k], 1) : tf.clone(k)),
      v: tf.keep(old ? tf.concat4d([old.v, v], 1) : tf.clone(v)),
    };
    if (old) tf.dispose([old.k, old.v]);
    this.held.set(key, grown);
    return grown;
  }

  dispose(): void {
    for (const { k, v } of this.held.values()) tf.dispose([k, v]);
  }
}

async function withRoutings(
  router: SupervisorRouter,
  passes: (() => Routing)[],
  check: (...routings: Routing[]) => Promise<void>,
): Promise<void> {
  const routings = passes.map((pass) => tf.tidy(pass));
  await check(...routings);
  tf.dispose(routings);
  router.dispose();
}

describeOnBackends('SupervisorRouter', () => {
  it('never lets a later token change an earlier routing when causal, and does when it sees everything', async () => {
    const changed = rows.map((row, t) => (t % SEQ === 4 ? row.map((x) => x + 3) : row));
    for (const causal of [true, false]) {
      const router = create({ causal });
      const passes = [rows, changed].map((values) => () => router.route(tf.tensor2d(values), { sequences }));
      await withRoutings(router, passes, async (before, after) => {
        const [a, b] = [(await before!.logits.array()) as number[][], (await after!.logits.array()) as number[][]];
        for (let t = 0; t < BATCH * SEQ; t++) {
          const gap = Math.max(...a[t]!.map((x, e) => Math.abs(x - b[t]![e]!)));
          const sees = causal ? t % SEQ >= 4 : true;
          if (sees) expect(gap, `token ${t}`).toBeGreaterThan(1e-4);
          else expect(gap, `token ${t}`).toBe(0);
        }
      });
    }
  });

  it('never lets one sequence change another', async () => {
    const router = create({ causal: false });
    const passes = [rows, rows.map((row, t) => (t < SEQ ? row : row.map((x) => x + 3)))].map(
      (values) => () => router.route(tf.tensor2d(values), { sequences }),
    );
    await withRoutings(router, passes, async (before, after) => {
      const [a, b] = [before!, after!].map(({ logits }) => tf.slice2d(logits, [0, 0], [SEQ, -1]));
      await expectClose(a!, b!, 0);
      tf.dispose([a!, b!]);
    });
  });

  it('decodes from a cache, in pieces or token by token, as in one pass', async () => {
    const [router, cache] = [create(), new GrowingCache()];
    const piece = (from: number, to: number) => {
      const values = Array.from({ length: BATCH }, (_, b) => rows.slice(b * SEQ + from, b * SEQ + to)).flat();
      return router.route(tf.tensor2d(values), { sequences: { batch: BATCH, seq: to - from }, cache });
    };
    const inPieces = () => [piece(0, 3), piece(3, 5), piece(5, 6), piece(6, 7)];
    const whole = tf.tidy(() => router.route(tf.tensor2d(rows), { sequences }));
    const pieces = tf.tidy(inPieces);
    const joined = tf.tidy(() =>
      tf.reshape(
        tf.concat(
          pieces.map(({ logits }) => tf.reshape(logits, [BATCH, -1, 32])),
          1,
        ),
        [BATCH * SEQ, 32],
      ),
    );
    await expectClose(joined, whole.logits, CLOSE);
    expect([...cache.held.keys()]).toEqual(['layers.5.router']);
    tf.dispose([whole, pieces, joined]);
    cache.dispose();
    router.dispose();
  });

  it('does not see padded tokens, on either side, also when they come from a cache', async () => {
    const short = { batch: 1, seq: 4 };
    for (const [causal, left] of [
      [true, true],
      [false, true],
      [false, false],
    ] as const) {
      const [router, cache] = [create({ causal }), new GrowingCache()];
      const real = rows.slice(0, 4);
      const noise = rows.slice(7, 10).map((row) => row.map((x) => 5 * x));
      const padded = left ? [...noise, ...real] : [...real, ...noise];
      const maskOf = () => tf.tensor1d(left ? [0, 0, 0, 1, 1, 1, 1] : [1, 1, 1, 1, 0, 0, 0]);
      const passes = [
        () => router.route(tf.tensor2d(real), { sequences: short }),
        () => router.route(tf.tensor2d(padded), { sequences: { batch: 1, seq: 7 }, mask: maskOf() }),
      ];
      if (causal) {
        passes.push(() => {
          const mask = tf.tensor1d([0, 0, 0, 1, 1]);
          router.route(tf.tensor2d(padded.slice(0, 5)), { sequences: { batch: 1, seq: 5 }, mask, cache });
          return router.route(tf.tensor2d(padded.slice(5)), { sequences: { batch: 1, seq: 2 }, cache });
        });
      }
      await withRoutings(router, passes, async (alone, among, cached) => {
        const slice = (routing: Routing, from: number, size: number) =>
          tf.slice2d(routing.logits, [from, 0], [size, -1]);
        const got = slice(among!, left ? 3 : 0, 4);
        await expectClose(got, alone!.logits, CLOSE);
        got.dispose();
        if (!cached) return;
        const last = slice(alone!, 2, 2);
        await expectClose(cached.logits, last, CLOSE);
        last.dispose();
      });
      cache.dispose();
    }
  });

  it('refuses a pass without sequences, and a cache when it sees everything', () => {
    const [router, everything, hidden] = [create(), create({ causal: false }), tf.tensor2d(rows)];
    expect(() => router.route(hidden)).toThrow(
      'looks along the sequence; give pass.sequences { batch, seq }, got none.',
    );
    expect(() => everything.route(hidden, { sequences, cache: new GrowingCache() })).toThrow(
      'pass.cache needs a supervisor with causal true',
    );
    hidden.dispose();
    router.dispose();
    everything.dispose();
  });
});

describe('SupervisorRouter', () => {
  it.each<[Record<string, unknown>, string]>([
    [{ numExpertsPerTok: 33 }, 'supervisor router: numExpertsPerTok is 33 but numExperts is 32'],
    [{ numAttentionHeads: 5 }, 'numAttentionHeads is 5 but the width of q_proj is 6; it must divide it'],
    [{ causal: 'yes' }, 'supervisor router: causal must be true or false, got yes.'],
    [{ cacheKey: '' }, "cacheKey must name this router, such as 'layers.0.router', got ''."],
    [{ heads: 2 }, "supervisor router: unknown key 'heads'"],
  ])('refuses %j', (change, message) => {
    expect(() => create(change as Partial<SupervisorConfig>)).toThrow(message);
  });

  it('refuses layers that do not fit each other', () => {
    const { layers } = create();
    const narrow = { ...layers, down_proj: Linear.create(11, 5, { seed: 1 }) };
    expect(() => new SupervisorRouter(narrow, config)).toThrow('down_proj must map 11 to 32, got 11 to 5.');
  });
});
