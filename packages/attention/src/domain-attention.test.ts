import * as tf from '@tensorflow/tfjs-core';
import { Linear } from '@therapeutic-moe/nn';
import {
  describeOnBackends,
  expectClose,
  expectGradient,
  expectNoLeak,
  valueAndGradients,
} from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import {
  Attention,
  type AttentionProjections,
  ConcatKvCache,
  DomainAttention,
  DomainBiases,
  DomainProjections,
  type DomainTerm,
  type DomainTermSizes,
  LowRankDomainProjections,
  ropeTables,
} from './index.js';

const [BATCH, SEQ, DOMAINS, RANK] = [2, 5, 3, 2];
const config = { hiddenSize: 7, numAttentionHeads: 6, numKeyValueHeads: 2, headDim: 4 };
const rope = { headDim: 4, theta: 10_000, scaling: { type: 'none' } } as const;
/** float32 sums in another order, through a softmax. */
const CLOSE = 1e-5;

const names = ['q_proj', 'k_proj', 'v_proj', 'o_proj'] as const;
const sizes = { q_proj: [7, 24], k_proj: [7, 8], v_proj: [7, 8], o_proj: [24, 7] } as const;

/** Every kind of term. */
const kinds: Record<string, (size: DomainTermSizes, seed: number) => DomainTerm> = {
  biases: (size) => DomainBiases.create(size),
  projections: (size) => DomainProjections.create(size),
  'low-rank projections': (size, seed) => LowRankDomainProjections.create(size, { rank: RANK, deviation: 0.6, seed }),
};

type Kind = (typeof kinds)[string];

function eachProjection<T>(
  make: (input: number, output: number, seed: number) => T,
): Record<(typeof names)[number], T> {
  const [q_proj, k_proj, v_proj, o_proj] = names.map((name, i) => make(sizes[name][0], sizes[name][1], i + 1));
  return { q_proj: q_proj!, k_proj: k_proj!, v_proj: v_proj!, o_proj: o_proj! };
}

const sharedProjections = (): AttentionProjections =>
  eachProjection((input, output, seed) => Linear.create(input, output, { deviation: 0.6, seed }));

/** With terms as they are when fresh, or learned. */
function createAttention(kind: Kind, { domains = DOMAINS, learned = true } = {}): DomainAttention {
  const terms = eachProjection((inputSize, outputSize, seed) => kind({ domains, inputSize, outputSize }, seed));
  if (learned) {
    const variables = Object.values(terms).flatMap((term) => [...term.parameters().values()]);
    for (const [i, variable] of variables.entries())
      tf.tidy(() => variable.assign(tf.randomNormal(variable.shape, 0, 0.6, 'float32', 31 + i)));
  }
  return new DomainAttention(config, sharedProjections(), terms);
}

/** Plain attention whose projections are those of the domains, mixed in the same way for every token. */
async function plainAttention(attention: DomainAttention, mix: readonly number[]): Promise<Attention> {
  const merge = (name: (typeof names)[number]) => {
    const [weight, bias] = tf.tidy(() => {
      const [input] = sizes[name];
      const mixed = (x: tf.Tensor2D) =>
        attention.terms[name].apply(x, tf.tensor2d([...mix], [1, mix.length]).tile([x.shape[0], 1]));
      const bias = tf.reshape(mixed(tf.zeros([1, input])), [-1]);
      const shared = attention.parameters().get(`${name}.weight`)!;
      return [tf.add(shared, tf.sub(mixed(tf.eye(input)), bias)), bias];
    });
    const linear = new Linear(tf.variable(weight!), tf.variable(bias!));
    tf.dispose([weight!, bias!]);
    return linear;
  };
  return new Attention(config, {
    q_proj: merge('q_proj'),
    k_proj: merge('k_proj'),
    v_proj: merge('v_proj'),
    o_proj: merge('o_proj'),
  });
}

/** `sum_d w_d term_d(x)`, one domain after the other. */
function loopOverDomains(term: DomainTerm, x: tf.Tensor2D, mix: tf.Tensor2D): tf.Tensor2D {
  const added = Array.from({ length: term.domains }, (_, d) => {
    const share = tf.slice(mix, [0, d], [-1, 1]);
    return tf.mul(share, ownTerm(term, d, x));
  });
  return tf.addN(added) as tf.Tensor2D;
}

function ownTerm(term: DomainTerm, d: number, x: tf.Tensor2D): tf.Tensor {
  if (term instanceof DomainBiases) return tf.slice(term.bias as tf.Tensor, [d, 0], [1, -1]);
  const slab = (variable: tf.Variable, axis: number) => tf.gather(variable as tf.Tensor, d, axis) as tf.Tensor2D;
  if (term instanceof DomainProjections) return tf.matMul(x, slab(term.weight, 0));
  const { down, up } = term as LowRankDomainProjections;
  return tf.matMul(tf.matMul(x, slab(down, 1)), slab(up, 0));
}

const hiddenStates = () => tf.randomNormal<tf.Rank.R3>([BATCH, SEQ, 7], 0, 1, 'float32', 5);
const mixOf = (tokens: number) =>
  tf.tidy(() => tf.softmax(tf.randomNormal<tf.Rank.R2>([tokens, DOMAINS], 0, 1, 'float32', 6)));
const sameMix = (mix: readonly number[]) =>
  tf.tidy(() => tf.tile(tf.tensor2d([...mix], [1, mix.length]), [BATCH * SEQ, 1]));

const wholePass = (attention: Attention | DomainAttention, x: tf.Tensor3D, domains?: tf.Tensor2D): tf.Tensor3D =>
  tf.tidy(() => attention.apply(x, { rope: ropeTables(rope, 0, x.shape[1]), ...(domains && { domains }) }));

describeOnBackends('DomainAttention', (backend) => {
  // SwiftShader compiles shaders for minutes: there what differs most from the other backends, and no few hundred passes.
  const slow = backend === 'webgpu';

  for (const [name, kind] of Object.entries(kinds)) {
    it.skipIf(slow)(`${name}: fresh, it is plain attention`, async () => {
      const [attention, x, mix] = [createAttention(kind, { learned: false }), hiddenStates(), mixOf(BATCH * SEQ)];
      const plain = new Attention(config, attention.projections);
      const [own, expected] = [wholePass(attention, x, mix), wholePass(plain, x)];
      await expectClose(own, expected, CLOSE);
      tf.dispose([x, mix, own, expected]);
      attention.dispose();
    });

    for (const [what, mix] of [
      ['one domain is plain attention with the sum of both projections', [1]],
      ['a token of one domain has the projections of that domain', [0, 1, 0]],
      ['even weights are the mean projection', [1 / 3, 1 / 3, 1 / 3]],
    ] as const) {
      it.skipIf(slow)(`${name}: ${what}`, async () => {
        const attention = createAttention(kind, { domains: mix.length });
        const plain = await plainAttention(attention, mix);
        const [x, weights] = [hiddenStates(), sameMix(mix)];
        const [own, expected] = [wholePass(attention, x, weights), wholePass(plain, x)];
        await expectClose(own, expected, CLOSE);
        tf.dispose([x, weights, own, expected]);
        plain.dispose();
        attention.dispose();
      });
    }

    it(`${name}: gives what a loop over the domains gives, with its gradients`, async () => {
      const attention = createAttention(kind);
      const term = attention.terms.q_proj;
      const x = tf.randomNormal<tf.Rank.R2>([SEQ, 7], 0, 1, 'float32', 8);
      const mix = mixOf(SEQ);
      const inputs = term.inputSize === undefined ? [mix] : [mix, x];
      const run = (apply: (x: tf.Tensor2D, mix: tf.Tensor2D) => tf.Tensor) =>
        valueAndGradients(
          (mix, input = x) => tf.mul(apply(input as tf.Tensor2D, mix as tf.Tensor2D), tf.cos(tf.range(0, 24))),
          inputs,
          term.parameters().values(),
        );
      const [own, loop] = [run((x, mix) => term.apply(x, mix)), run((x, mix) => loopOverDomains(term, x, mix))];
      for (const [i, result] of own.entries()) await expectClose(result, loop[i]!, CLOSE);
      if (!slow) await expectGradient((mix, input = x) => term.apply(input as tf.Tensor2D, mix as tf.Tensor2D), inputs);
      tf.dispose([x, mix, own, loop]);
      attention.dispose();
    });

    it.skipIf(slow && kind !== kinds['low-rank projections'])(
      `${name}: decodes token by token and in pieces as in one pass`,
      async () => {
        const [attention, x, mix] = [createAttention(kind), hiddenStates(), mixOf(BATCH * SEQ)];
        const whole = wholePass(attention, x, mix);
        for (const lengths of [
          [1, 1, 1, 1, 1],
          [3, 2],
        ]) {
          const store = new ConcatKvCache(SEQ);
          const pieces = tf.tidy(() => {
            const outputs = lengths.map((length) => {
              const start = store.length;
              const piece = tf.slice(x, [0, start, 0], [-1, length, -1]);
              const byRow = tf.slice(tf.reshape(mix, [BATCH, SEQ, DOMAINS]), [0, start, 0], [-1, length, -1]);
              const domains = tf.reshape(byRow, [-1, DOMAINS]) as tf.Tensor2D;
              return attention.apply(piece, {
                rope: ropeTables(rope, start, length),
                domains,
                cache: { store, layer: 0 },
              });
            });
            return tf.concat3d(outputs, 1);
          });
          await expectClose(pieces, whole, CLOSE);
          pieces.dispose();
          store.dispose();
        }
        tf.dispose([x, mix, whole]);
        attention.dispose();
      },
    );

    it.skipIf(slow)(`${name}: never lets a later token or its domains change an earlier output`, async () => {
      const [attention, x, mix] = [createAttention(kind), hiddenStates(), mixOf(BATCH * SEQ)];
      const before = await dataOf(wholePass(attention, x, mix));
      for (let position = 0; position < SEQ; position++) {
        const after = await dataOf(
          tf.tidy(() => {
            const bump = tf.reshape(tf.oneHot(tf.tensor1d([position], 'int32'), SEQ), [1, SEQ, 1]);
            const moved = tf.add(x, tf.mul(bump, 3)) as tf.Tensor3D;
            const turned = tf.where(
              tf.tile(bump, [BATCH, 1, DOMAINS]).cast('bool'),
              1 / DOMAINS,
              tf.reshape(mix, [BATCH, SEQ, DOMAINS]),
            );
            return wholePass(attention, moved, tf.reshape(turned, [-1, DOMAINS]));
          }),
        );
        const changed = Array.from({ length: SEQ }, (_, p) => p).filter((p) =>
          after.subarray(p * 7, p * 7 + 7).some((value, i) => Math.abs(value - before[p * 7 + i]!) > CLOSE),
        );
        expect(changed[0], `first position that changed with token ${position}`).toBe(position);
      }
      tf.dispose([x, mix]);
      attention.dispose();
    });
  }

  it.skipIf(slow)('teaches every variable and the router through the weights', async () => {
    for (const kind of Object.values(kinds)) {
      const [attention, x, mix] = [createAttention(kind), hiddenStates(), mixOf(BATCH * SEQ)];
      const tangle = (y: tf.Tensor) => tf.mul(y, tf.cos(tf.range(0, 7)));
      const [, ...gradients] = valueAndGradients(
        (x, mix) => tangle(wholePass(attention, x as tf.Tensor3D, mix as tf.Tensor2D)),
        [x, mix],
        attention.parameters().values(),
      );
      for (const [i, gradient] of gradients.entries())
        expect(Math.max(...(await gradient.data()).map(Math.abs)), `gradient ${i}`).toBeGreaterThan(1e-4);
      tf.dispose([x, mix, gradients]);
      attention.dispose();
    }
  });

  it.skipIf(slow)('has the gradients of central differences', async () => {
    for (const kind of Object.values(kinds)) {
      const attention = createAttention(kind);
      const [x, mix] = [tf.randomNormal<tf.Rank.R3>([1, 3, 7], 0, 1, 'float32', 9), mixOf(3)];
      await expectGradient((x, mix) => wholePass(attention, x as tf.Tensor3D, mix as tf.Tensor2D), [x, mix]);
      tf.dispose([x, mix]);
      attention.dispose();
    }
  });

  it.skipIf(slow)(
    'keeps the names of the shared projections, which can be replaced, and leaves nothing behind',
    async () => {
      const [attention, x, mix] = [createAttention(kinds['low-rank projections']!), hiddenStates(), mixOf(BATCH * SEQ)];
      expect([...attention.parameters().keys()]).toEqual([
        ...names.map((name) => `${name}.weight`),
        ...names.flatMap((name) => [`domains.${name}.down`, `domains.${name}.up`]),
      ]);
      const before = await dataOf(wholePass(attention, x, mix));
      attention.projections.v_proj.dispose();
      attention.projections.v_proj = Linear.create(7, 8, { seed: 77 });
      const after = await dataOf(wholePass(attention, x, mix));
      expect(Math.max(...after.map((value, i) => Math.abs(value - before[i]!)))).toBeGreaterThan(0.1);
      await expectNoLeak(() => wholePass(attention, x, mix));
      tf.dispose([x, mix]);
      attention.dispose();
    },
  );

  it('refuses weights and terms that do not fit, in words', () => {
    const kind = kinds.biases!;
    const [attention, x] = [createAttention(kind), hiddenStates()];
    expect(() => wholePass(attention, x)).toThrow('domainAttention.apply: pass.domains is absent; give the weights');
    const wide = tf.ones<tf.Rank.R2>([BATCH * SEQ, 2]);
    expect(() => wholePass(attention, x, wide)).toThrow('pass.domains must be [10, 3], got [10, 2].');
    const other = { ...attention.terms, k_proj: DomainBiases.create({ domains: 2, outputSize: 8 }) };
    expect(() => new DomainAttention(config, attention.projections, other)).toThrow(
      'domainAttention: the term of k_proj has 2 domains, that of q_proj 3; they must be equal.',
    );
    const narrow = {
      ...attention.terms,
      v_proj: DomainProjections.create({ domains: 3, inputSize: 5, outputSize: 8 }),
    };
    expect(() => new DomainAttention(config, attention.projections, narrow)).toThrow(
      'the term of v_proj must map 7 to 8, got 5 to 8.',
    );
    expect(() => new DomainBiases(tf.variable(tf.zeros([0, 8])))).toThrow(
      'DomainBiases: bias must be [domains, output], 1 or more each, got [0, 8].',
    );
    expect(
      () => new LowRankDomainProjections(tf.variable(tf.zeros([7, 3, 2])), tf.variable(tf.zeros([3, 5, 8]))),
    ).toThrow('down [7, 3, 2] and up [3, 5, 8] must agree in domains and rank.');
    tf.dispose([x, wide]);
    attention.dispose();
  });
});

async function dataOf(tensor: tf.Tensor): Promise<Float32Array> {
  const values = await tensor.data<'float32'>();
  tensor.dispose();
  return values;
}
