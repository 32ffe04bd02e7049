import * as tf from '@tensorflow/tfjs-core';
import { ConcatKvCache } from '@therapeutic-moe/attention';
import { documentRanges, paddingRanges } from '@therapeutic-moe/kernels';
import { attachLora } from '@therapeutic-moe/lora';
import { describeOnBackends, expectClose, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { paddedBatch } from '../test/padded-batch.js';
import { logitsOf, tinyConfig, tinyModel } from '../test/tiny-model.js';
import { writeAndRead } from '../test/write-and-read.js';
import { type CausalLm, type ConfigOverrides, countParameters, mergeLora, trainable } from './index.js';
import { parameterShapes } from './parameter-shapes.js';

/** float32 sums in another order, through two layers of weights of deviation 0.5. */
const LOGIT = 1e-4;

const ids = [3, 1, 4, 1, 5, 9, 2];

const domains = { kind: 'domain', numDomains: 3 } as const;

/** Every kind of attention with domains, and of positions. */
const kinds: Record<string, ConfigOverrides> = {
  'biases of domains': { attention: { ...domains, terms: 'biases' } },
  'projections of domains': { attention: { ...domains, terms: 'projections' } },
  'low-rank projections of domains, hybrid positions': {
    attention: { ...domains, terms: 'projections', rank: 2 },
    positions: { kind: 'hybrid' },
  },
  'domains without experts, learned positions': {
    attention: { ...domains, terms: 'biases' },
    positions: { kind: 'learned' },
    mixture: undefined,
  },
  'levels of attention, learned positions': {
    attention: { kind: 'multi-level', window: 4 },
    positions: { kind: 'learned' },
    mixture: undefined,
  },
  'sinusoidal positions': { positions: { kind: 'sinusoidal' } },
  alibi: { positions: { kind: 'alibi' } },
  'no positions': { positions: { kind: 'none' } },
};

/** Fresh terms of domains are zero: these have learned something. */
function modelOf(overrides: ConfigOverrides): CausalLm {
  const model = tinyModel({ hiddenSize: 10, ...overrides });
  for (const [path, variable] of model.parameters())
    if (/\.domains\.|embed_positions/.test(path))
      tf.tidy(() => variable.assign(tf.randomNormal(variable.shape, 0, 0.5, 'float32', path.length)));
  return model;
}

const batchOf = (padding = 0) => paddedBatch(padding, () => -1);

const weights = { klBalance: 0.1, zLoss: 0.01, domainSupervision: 0 };

describeOnBackends('a model with', (backend) => {
  // SwiftShader compiles shaders for most of a minute: there only what differs most from the other backends.
  const slow = backend === 'webgpu';
  const forWebGpu = 'low-rank projections of domains, hybrid positions';

  for (const [name, overrides] of Object.entries(kinds)) {
    it.skipIf(slow && name !== forWebGpu)(
      `${name}: decodes token by token and in pieces as one pass computes`,
      async () => {
        const model = modelOf(overrides);
        const read = slow ? ids.slice(0, 4) : ids;
        const whole = await logitsOf(model, read);
        for (const pieces of slow
          ? [[3, 1]]
          : [
              [1, 1, 1, 1, 1, 1, 1],
              [3, 2, 2],
            ]) {
          const session = model.createSession();
          let taken = 0;
          for (const piece of pieces) {
            const { logits } = await session.append(read.slice(taken, taken + piece));
            taken += piece;
            await expectClose(logits, whole.slice((taken - 1) * 13, taken * 13), LOGIT);
          }
          session.dispose();
        }
        model.dispose();
      },
    );

    it.skipIf(slow)(`${name}: a later token never changes an earlier output`, async () => {
      const model = modelOf(overrides);
      const before = await logitsOf(model, ids);
      for (let position = 0; position < ids.length; position++) {
        const after = await logitsOf(
          model,
          ids.map((id, i) => (i === position ? id + 1 : id)),
        );
        await expectClose(after.slice(0, 13 * position), before.slice(0, 13 * position), LOGIT);
        const at = (logits: Float32Array) => logits.slice(13 * position, 13 * position + 13);
        expect(at(after)).not.toEqual(at(before));
      }
      model.dispose();
    });

    it.skipIf(slow)(`${name}: has the variables that its config tells, and as many numbers`, () => {
      const model = modelOf(overrides);
      const shapes = (variables: Map<string, { shape: readonly number[] }>) =>
        [...variables].map(([path, { shape }]) => `${path} [${shape}]`).sort();
      expect(shapes(model.parameters())).toEqual(shapes(parameterShapes(model.config)));
      const size = [...model.parameters().values()].reduce((sum, variable) => sum + variable.size, 0);
      expect(countParameters(model.config).total).toBe(size);
      model.dispose();
      expect(tf.memory().numTensors).toBe(0);
    });

    it.skipIf(slow)(`${name}: written in our own layout and read gives the same logits, bit for bit`, async () => {
      const model = modelOf(overrides);
      const { loaded, json } = await writeAndRead(model);
      expect(json.model_type).toBe('therapeutic_moe');
      expect(loaded.config).toEqual(model.config);
      expect(await logitsOf(loaded, ids)).toEqual(await logitsOf(model, ids));
      model.dispose();
      loaded.dispose();
    });

    it.skipIf(slow)(`${name}: is blind to padding behind, learns in every variable and leaks nothing`, async () => {
      const model = modelOf(overrides);
      const target = trainable(model, weights);
      const variables = [...target.parameters()];
      const step = (padding: number) =>
        tf.variableGrads(
          () => target.loss(batchOf(padding), { tokensInStep: 10 }).total,
          variables.map(([, variable]) => variable),
        );
      const [plain, padded] = [step(0), step(3)];
      await expectClose(padded.value, plain.value, LOGIT);
      for (const [path, { name }] of variables) {
        await expectClose(padded.grads[name]!, plain.grads[name]!, LOGIT);
        expect(Math.max(...(await plain.grads[name]!.data()).map(Math.abs)), path).toBeGreaterThan(0);
      }
      tf.dispose([plain, padded]);
      await expectNoLeak(() => {
        const { value, grads } = step(0);
        tf.dispose([value, grads]);
      });
      model.dispose();
    });

    it.skipIf(slow)(`${name}: takes an adapter, beside the weights and merged`, async () => {
      const model = modelOf(overrides);
      const before = await logitsOf(model, ids);
      const adapter = attachLora(model, { r: 2, targetModules: ['q_proj', 'o_proj'] }, 3);
      await expectClose(await logitsOf(model, ids), before, LOGIT);
      for (const [i, { b }] of [...adapter.layers.values()].entries())
        tf.tidy(() => b.assign(tf.randomNormal(b.shape, 0, 0.5, 'float32', i + 1)));
      const adapted = await logitsOf(model, ids);
      expect(Math.max(...adapted.map((logit, i) => Math.abs(logit - before[i]!)))).toBeGreaterThan(0.01);
      mergeLora(model, adapter);
      await expectClose(await logitsOf(model, ids), adapted, LOGIT);
      model.dispose();
    });
  }

  it.skipIf(slow)('domains tells how they are mixed, apart from where experts are chosen', async () => {
    const model = modelOf(kinds['low-rank projections of domains, hybrid positions']!);
    const input = tf.tensor2d([ids], [1, 7], 'int32');
    const { logits, routings, domainRoutings } = model.forward(input);
    expect(routings.map(({ probabilities }) => probabilities.shape)).toEqual([
      [7, 3],
      [7, 3],
    ]);
    expect(domainRoutings.map(({ probabilities }) => probabilities.shape)).toEqual([
      [7, 3],
      [7, 3],
    ]);
    const sums = tf.tidy(() => tf.concat(domainRoutings.map(({ probabilities }) => tf.sum(probabilities, 1))));
    await expectClose(sums, new Array(14).fill(1), LOGIT);
    const { total, metrics } = trainable(model, weights).loss(batchOf(), { tokensInStep: 10 });
    const mix = [...(await metrics.domainMixByLayer!.data())];
    expect(mix).toHaveLength(2 * 3);
    for (const layer of [0, 1])
      expect(mix.slice(3 * layer, 3 * layer + 3).reduce((sum, share) => sum + share)).toBeCloseTo(1, 5);
    expect(await metrics.expertLoad!.data()).toHaveLength(3);
    tf.dispose([input, logits, sums, ...routings, ...domainRoutings, total, metrics]);
    model.dispose();
    expect(tf.memory().numTensors).toBe(0);
  });

  it.skipIf(slow)(
    'a weight on the balance of domains adds their divergence from even shares, and no loss of experts',
    async () => {
      const model = modelOf(kinds['low-rank projections of domains, hybrid positions']!);
      const [plain, balanced] = [weights, { ...weights, domainBalance: 2 }].map(
        (one) => trainable(model, one).loss(batchOf(2), { tokensInStep: 20 }), // half of the step's tokens
      );
      const [before, after] = [await plain!.total.data(), await balanced!.total.data()];
      const [divergence] = await balanced!.metrics.domainBalance!.data();
      expect(divergence).toBeGreaterThan(0.001);
      expect(after[0]! - before[0]!).toBeCloseTo((2 * divergence!) / 2, 5);
      expect(await balanced!.metrics.balance!.data()).toEqual(await plain!.metrics.balance!.data());
      const mix = await balanced!.metrics.domainMixByLayer!.data();
      const byHand = [...mix].reduce((sum, share) => sum + share * Math.log(3 * share), 0) / 2;
      expect(divergence).toBeCloseTo(byHand, 5);
      tf.dispose([plain, balanced].flatMap((loss) => [loss!.total, ...Object.values(loss!.metrics)]));
      model.dispose();
    },
  );

  it.skipIf(slow)('a gate of domains that is no number is an error that names the layer', async () => {
    const model = modelOf(kinds['domains without experts, learned positions']!);
    const target = trainable(model, weights);
    const session = model.createSession();
    await session.append(ids);
    const gate = model.parameters().get('model.layers.1.domain_gate.weight')!;
    tf.tidy(() => gate.assign(tf.fill(gate.shape, Number.NaN)));
    await expect(session.append([1])).rejects.toThrow("model.layers.1: the router's gate is not finite");
    expect(session.length).toBe(7);
    const { total, metrics } = target.loss(batchOf(), { tokensInStep: 10 });
    const gateMeanByLayer = [...(await metrics.gateMeanByLayer!.data())];
    expect(() => target.checkMetrics({ gateMeanByLayer })).toThrow('model.layers.1: ');
    tf.dispose([total, metrics]);
    session.dispose();
    model.dispose();
  });

  it.skipIf(slow)('alibi takes off by distance', async () => {
    const [alibi, none] = (['alibi', 'none'] as const).map((kind) => tinyModel({ positions: { kind } }));
    const [biased, plain] = [await logitsOf(alibi!, ids), await logitsOf(none!, ids)];
    await expectClose(biased.slice(0, 13), plain.slice(0, 13), LOGIT); // the first token sees itself alone
    expect(Math.max(...biased.slice(13).map((logit, i) => Math.abs(logit - plain[13 + i]!)))).toBeGreaterThan(0.01);
    alibi!.dispose();
    none!.dispose();
  });

  it('no positions: the same tokens in another order before a token are the same to it in one layer', async () => {
    const model = tinyModel({ positions: { kind: 'none' }, mixture: undefined, numHiddenLayers: 1 });
    const last = async (read: number[]) => (await logitsOf(model, read)).slice(-13);
    await expectClose(await last([4, 1, 3, 5]), await last([3, 1, 4, 5]), LOGIT);
    const rotary = tinyModel({ mixture: undefined, numHiddenLayers: 1 });
    const [a, b] = [await logitsOf(rotary, [4, 1, 3, 5]), await logitsOf(rotary, [3, 1, 4, 5])];
    expect(Math.abs(a.at(-1)! - b.at(-1)!)).toBeGreaterThan(0.01);
    model.dispose();
    rotary.dispose();
  });

  it.skipIf(slow)(
    'the same seed gives the same weights, and other parts do not change those of the projections',
    async () => {
      const [plain, first, second] = [
        {},
        ...new Array(2).fill(kinds['low-rank projections of domains, hybrid positions']),
      ].map((overrides: ConfigOverrides) => tinyModel({ hiddenSize: 10, ...overrides }));
      for (const [path, variable] of first!.parameters()) {
        const values = await variable.data();
        expect(await second!.parameters().get(path)!.data(), path).toEqual(values);
        if (plain!.parameters().has(path)) expect(await plain!.parameters().get(path)!.data(), path).toEqual(values);
      }
      for (const model of [plain!, first!, second!]) model.dispose();
    },
  );

  it('refuses positions past its own, and texts that do not begin at the start of a row where positions are absolute', () => {
    const model = tinyModel({ positions: { kind: 'learned' } });
    const [long, short] = [tf.ones<tf.Rank.R2>([1, 18], 'int32'), tf.ones<tf.Rank.R2>([1, 5], 'int32')];
    expect(() => model.forward(long)).toThrow(
      "model.forward: 18 positions exceed the model's 17; shorten the input or raise maxPositionEmbeddings and train.",
    );
    const cache = new ConcatKvCache(20);
    tf.tidy(() => model.forward(tf.ones([1, 13], 'int32'), { cache }).logits).dispose();
    expect(() => model.forward(short, { cache })).toThrow("18 positions exceed the model's 17");
    expect(() => model.forward(short, { ranges: documentRanges([0, 2, 5]) })).toThrow(
      'model.forward: ranges let token 2 begin at 2, but learned positions count from the start of a row',
    );
    tf.tidy(() => model.forward(short, { ranges: paddingRanges([1, 1, 1, 0, 0], 1, 5) }).logits).dispose();
    tf.dispose([long, short]);
    cache.dispose();
    model.dispose();
  });

  it('refuses configs that cannot be, in words', () => {
    const refuses = (overrides: object, says: string) => expect(() => tinyConfig(overrides)).toThrow(says);
    refuses(
      { attention: { ...domains, numDomains: 0, terms: 'biases' } },
      'attention: numDomains must be a whole number of 1 or more, got 0.',
    );
    refuses({ attention: domains }, "attention: terms must be 'biases' or 'projections', got 'undefined'.");
    refuses(
      { attention: { ...domains, terms: 'biases', rank: 2 } },
      "attention: rank belongs to terms 'projections', but terms is 'biases'",
    );
    refuses(
      { attention: { ...domains, terms: 'projections', rank: 1.5 } },
      'attention: rank must be a whole number of 1 or more, got 1.5.',
    );
    refuses({ attention: { ...domains, terms: 'biases', heads: 2 } }, "attention: unknown key 'heads'");
    refuses({ attention: { kind: 'linear' } }, "attention: kind must be 'multi-level' or 'domain', got 'linear'");
    refuses({ attention: 'domain' }, 'attention must be an object, got "domain".');
    refuses(
      { positions: { kind: 'rotary' } },
      "positions: kind must be one of sinusoidal, learned, hybrid, alibi, none, got 'rotary'; leave positions out, or set null over a preset's, for rotary ones.",
    );
    refuses({ positions: { kind: 'alibi', slopes: [] } }, "positions: unknown key 'slopes'");
    refuses({ positions: { kind: 'hybrid' } }, "positions: kind is 'hybrid' but hiddenSize is 5; it must be even");
    refuses(
      { positions: { kind: 'alibi' }, attention: { kind: 'multi-level', window: 4 } },
      "positions: kind is 'alibi' but attention.kind is 'multi-level'",
    );
    refuses(
      { positions: { kind: 'none' }, ropeScaling: { type: 'linear', factor: 2 } },
      "positions: kind is 'none' but ropeScaling is 'linear', which is of rotary positions; leave one of them out (null takes away a preset's positions).",
    );
  });
});
