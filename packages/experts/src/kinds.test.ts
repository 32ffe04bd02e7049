import * as tf from '@tensorflow/tfjs-core';
import { normalVariable } from '@therapeutic-moe/nn';
import type { Routing } from '@therapeutic-moe/router';
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
  type ExpertPass,
  type Experts,
  GeluExperts,
  SharedProjectionExperts,
  SpecialisedExperts,
  StackedRmsNorm,
  SwiGluExperts,
  sortByExpertOnDevice,
  TransformerExperts,
} from './index.js';

const EXPERTS = 3;
const K = 2;
const HIDDEN = 5;
const SEQUENCES = { batch: 2, seq: 7 };
const TOKENS = SEQUENCES.batch * SEQUENCES.seq;
/** float32 sums of a few products in another order, through a norm and a softmax. */
const SUM = 5e-5;

const sizes = { experts: EXPERTS, hidden: HIDDEN, intermediate: 6 };
const fresh = { deviation: 0.6, downDeviation: 0.5, seed: 3 };

/** Every kind that a layer can be made of; whoever adds one adds it here. */
const kinds: Record<string, () => Experts> = {
  SwiGluExperts: () => SwiGluExperts.create(sizes, fresh),
  'GeluExperts, exact': () => GeluExperts.create(sizes, fresh),
  'GeluExperts, approximate with biases': () =>
    GeluExperts.create(sizes, { ...fresh, hiddenAct: 'gelu_pytorch_tanh', bias: true }),
  SpecialisedExperts: () =>
    new SpecialisedExperts(StackedRmsNorm.create(EXPERTS, HIDDEN, 1e-5), SwiGluExperts.create(sizes, fresh), {
      dropout: 0.3,
    }),
  SharedProjectionExperts: () => SharedProjectionExperts.create(sizes, { ...fresh, rmsNormEps: 1e-5 }),
  TransformerExperts: () => TransformerExperts.create({ ...sizes, heads: 2 }, { ...fresh, rmsNormEps: 1e-5 }),
};

/** The kind with every parameter random, so that zeros and ones hide nothing. */
function create(kind: string): Experts {
  const layer = kinds[kind]!();
  for (const [i, variable] of [...layer.parameters().values()].entries()) {
    const noise = normalVariable(variable.shape, 0.3, i + 1);
    tf.tidy(() => variable.assign(tf.add(variable, noise)));
    noise.dispose();
  }
  return layer;
}

const tokens = () => tf.randomNormal<tf.Rank.R2>([TOKENS, HIDDEN], 0, 1, 'float32', 5);
const direction = () => tf.randomNormal<tf.Rank.R2>([TOKENS, HIDDEN], 0, 1, 'float32', 11);
const training: ExpertPass = { sequences: SEQUENCES, seed: 23 };

/** Two experts of three for each token in turn; with `idle`, only experts 0 and 2. */
function routing({ idle = false } = {}): Routing {
  const pairs = idle ? [[0, 2], [2, 0]] : [[1, 0], [2, 1], [0, 2], [1, 2]]; // biome-ignore format: pairs
  return tf.tidy(() => ({
    logits: tf.zeros<tf.Rank.R2>([TOKENS, EXPERTS]),
    probabilities: tf.fill<tf.Rank.R2>([TOKENS, EXPERTS], 1 / EXPERTS),
    indices: tf.tensor2d(
      Array.from({ length: TOKENS }, (_, t) => pairs[(t * t) % pairs.length]!),
      undefined,
      'int32',
    ),
    weights: tf.randomUniform<tf.Rank.R2>([TOKENS, K], 0.2, 0.9, 'float32', 13),
    gates: [],
  }));
}

type Apply = (
  hidden: tf.Tensor2D,
  routing: Routing,
  layer: Experts,
  pass: ExpertPass,
  mask?: tf.Tensor1D,
) => tf.Tensor2D;

const dense: Apply = (hidden, routing, layer, pass, mask) =>
  applyExperts(hidden, routing, layer, { dispatch: 'dense', pass, ...(mask && { mask }) });
const sorted: Apply = (hidden, routing, layer, pass, mask) =>
  applyExperts(hidden, routing, layer, { dispatch: 'sorted', pass, ...(mask && { mask }) });
const sortedOnDevice: Apply = (hidden, routing, layer, pass, mask) =>
  tf.tidy(() => {
    const plan = sortByExpertOnDevice(routing.indices, EXPERTS, mask);
    return applyPlanned(hidden, routing.weights, layer, plan, pass);
  });
const capacity: Apply = (hidden, routing, layer, pass, mask) =>
  tf.tidy(() => {
    const options = { capacity: TOKENS, dropBy: 'position', pass, ...(mask && { mask }) } as const;
    return applyWithCapacity(hidden, routing, layer, options).output;
  });

/** The weighed output, and the gradients of hidden states, routing weights and every parameter. */
function run(apply: Apply, hidden: tf.Tensor2D, routing: Routing, layer: Experts, mask?: tf.Tensor1D): tf.Tensor[] {
  return valueAndGradients(
    (x, weights) => {
      const route = { ...routing, weights: weights as tf.Tensor2D };
      return tf.mul(apply(x as tf.Tensor2D, route, layer, training, mask), direction());
    },
    [hidden, routing.weights],
    layer.parameters().values(),
  );
}

for (const kind of Object.keys(kinds)) {
  describeOnBackends(kind, (backend) => {
    // WebGPU cannot read the choices at once: there `sorted` sorts on the device.
    const sorts = backend === 'webgpu' ? { sorted } : { sorted, 'sorted on the device': sortedOnDevice };
    const forms = { ...sorts, capacity };

    for (const [form, apply] of Object.entries(forms)) {
      it(`${form} equals one expert at a time in value and all gradients, in training`, async () => {
        const [layer, hidden] = [create(kind), tokens()];
        for (const choice of [routing(), routing({ idle: true })]) {
          const [grouped, single] = [apply, dense].map((f) => run(f, hidden, choice, layer));
          for (const [i, expected] of single!.entries()) await expectClose(grouped![i]!, expected, SUM);
          tf.dispose([choice, grouped!, single!]);
        }
        hidden.dispose();
        layer.dispose();
      });
    }

    for (const [form, apply] of Object.entries({ ...forms, dense })) {
      it(`${form} lets padding touch nothing`, async () => {
        const [layer, hidden, choice] = [create(kind), tokens(), routing()];
        const padded = [1, 6, 7, 12];
        const mask = tf.tensor1d(Array.from({ length: TOKENS }, (_, t) => (padded.includes(t) ? 0 : 1)));
        const garbage = tf.tidy(() => tf.add(hidden, tf.mul(tf.sub(1, tf.expandDims(mask, 1)), 100)) as tf.Tensor2D);
        const [clean, soiled] = [hidden, garbage].map((x) => run(apply, x, choice, layer, mask));
        for (const [i, expected] of clean!.entries()) await expectClose(soiled![i]!, expected, 1e-6);
        for (const ofTokens of soiled!.slice(0, 3)) {
          const sizesOfPadding = tf.tidy(() => tf.sum(tf.mul(tf.abs(ofTokens), tf.sub(1, tf.expandDims(mask, 1)))));
          expect((await sizesOfPadding.data())[0]).toBe(0);
          sizesOfPadding.dispose();
        }
        tf.dispose([hidden, choice, mask, garbage, clean!, soiled!]);
        layer.dispose();
      });
    }

    it('has the gradients of central differences', async () => {
      const [layer, all, choice] = [create(kind), tokens(), routing()];
      const few = 2;
      const first = tf.tidy(() => ({
        hidden: tf.slice(all, [0, 0], [few, -1]),
        weights: tf.slice(choice.weights, [0, 0], [few, -1]),
        indices: tf.slice(choice.indices, [0, 0], [few, -1]),
      }));
      const pass = { sequences: { batch: 1, seq: few } };
      const limits = { capacity: few, dropBy: 'position', pass } as const;
      const probabilities = tf.zeros<tf.Rank.R2>([few, EXPERTS]);
      await expectGradient(
        (x, w) => {
          const route = { ...choice, probabilities, indices: first.indices, weights: w as tf.Tensor2D };
          return tf.tidy(() => applyWithCapacity(x as tf.Tensor2D, route, layer, limits).output);
        },
        [first.hidden, first.weights],
      );
      tf.dispose([all, choice, first, probabilities]);
      layer.dispose();
    });

    it('gives the same outputs rebuilt as it is, and those of the chosen experts rebuilt from some', async () => {
      const [layer, hidden, choice] = [create(kind), tokens(), routing({ idle: true })];
      const same = layer.rebuild((stacked) => stacked);
      const some = tf.tensor1d([2, 0], 'int32'); // expert 2 first, expert 1 gone
      const fewer = layer.rebuild((stacked) => tf.gather(stacked, some));
      const pass = { sequences: SEQUENCES };
      const renumbered = tf.tidy(() => ({
        ...choice,
        probabilities: tf.slice(choice.probabilities, [0, 0], [-1, 2]),
        indices: tf.sub(tf.scalar(1, 'int32'), tf.floorDiv(choice.indices, tf.scalar(2, 'int32'))) as tf.Tensor2D,
      }));
      const before = dense(hidden, choice, layer, pass);
      layer.dispose(); // the others have variables of their own
      const after = [dense(hidden, choice, same, pass), capacity(hidden, renumbered, fewer, pass)];
      expect(fewer.experts).toBe(2);
      expect([...fewer.parameters().keys()]).toEqual([...same.parameters().keys()]);
      for (const output of after) await expectClose(output, before, SUM);
      same.dispose();
      fewer.dispose();
      tf.dispose([hidden, choice, some, renumbered, before, after]);
    });

    it('says its sizes, and leaves nothing behind', async () => {
      await expectNoLeak(() => {
        const [layer, hidden, choice] = [create(kind), tokens(), routing()];
        expect([layer.experts, layer.hidden]).toEqual([EXPERTS, HIDDEN]);
        const outputs = [capacity, dense].map((f) => f(hidden, choice, layer, training));
        layer.rebuild((stacked) => stacked).dispose();
        layer.dispose();
        return [hidden, choice, outputs];
      });
    });
  });
}
