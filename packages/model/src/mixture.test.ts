import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { ConcatKvCache } from '@therapeutic-moe/attention';
import { recordRouting } from '@therapeutic-moe/router';
import { describeOnBackends, expectClose, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { mixtures } from '../test/mixtures.js';
import { paddedBatch } from '../test/padded-batch.js';
import { logitsOf, tinyModel } from '../test/tiny-model.js';
import { writeAndRead } from '../test/write-and-read.js';
import {
  type CausalLm,
  countParameters,
  loadModelDirectory,
  type PartialMixtureConfig,
  saveModelDirectory,
  trainable,
} from './index.js';
import { bufferShapes, parameterShapes } from './parameter-shapes.js';

/** float32 sums in another order, through two layers of weights of deviation 0.5. */
const LOGIT = 1e-4;

const ids = [3, 1, 4, 1, 5, 9, 2, 6];

const modelOf = (mixture: PartialMixtureConfig, seed = 1) =>
  tinyModel({ hiddenSize: 10, intermediateSize: 14, mixture }, seed);

const sizeOf = (variables: ReadonlyMap<string, tf.Variable>) =>
  [...variables.values()].reduce((sum, { size }) => sum + size, 0);

const batchOf = (padding = 0) => paddedBatch(padding, (token) => token % 6);

/** Puts a value into the first number of a variable. */
function spoil(model: CausalLm, path: string, value: number): void {
  const variable = model.parameters().get(path)!;
  tf.tidy(() => variable.assign(tf.add(variable, tf.fill(variable.shape, value))));
}

describeOnBackends('a model with', (backend) => {
  // SwiftShader compiles shaders for most of a minute: there only what differs most from the other backends.
  const slow = backend === 'webgpu';
  const forWebGpu = ['sigmoid scores, groups, bias and noise', 'supervisor, transformer experts'];

  for (const [name, mixture] of Object.entries(mixtures)) {
    it.skipIf(slow && !forWebGpu.includes(name))(
      `${name}: decoding token by token or in pieces gives what one pass gives`,
      async () => {
        const model = modelOf(mixture);
        const whole = await logitsOf(model, slow ? ids.slice(0, 4) : ids);
        const cuts = slow
          ? [[3, 1]]
          : [
              [1, 1, 1, 1, 1, 1, 1, 1],
              [3, 1, 4],
            ];
        for (const pieces of cuts) {
          const session = model.createSession();
          let taken = 0;
          for (const piece of pieces) {
            const { logits, expertCounts } = await session.append(ids.slice(taken, taken + piece));
            taken += piece;
            await expectClose(logits, whole.slice((taken - 1) * 13, taken * 13), LOGIT);
            expect(expertCounts.reduce((a, b) => a + b)).toBe(2 * piece * model.config.numHiddenLayers);
          }
          session.dispose();
        }
        model.dispose();
      },
    );

    it.skipIf(slow)(`${name}: has the variables that its config tells, and as many numbers`, () => {
      const model = modelOf(mixture);
      const shapes = (variables: Map<string, { shape: readonly number[] }>) =>
        [...variables].map(([path, { shape }]) => `${path} [${shape}]`).sort();
      expect(shapes(model.parameters())).toEqual(shapes(parameterShapes(model.config)));
      expect(shapes(model.buffers())).toEqual(shapes(bufferShapes(model.config)));
      expect(countParameters(model.config).total).toBe(sizeOf(model.parameters()));
      expect(countParameters(model.config).activePerToken).toBeLessThan(sizeOf(model.parameters()));
      model.dispose();
    });

    it.skipIf(slow)(`${name}: written and read gives the same logits, bit for bit`, async () => {
      const model = modelOf(mixture);
      for (const { balanceBias } of model.mixtures().map(({ router }) => router as { balanceBias?: tf.Variable }))
        if (balanceBias) tf.tidy(() => balanceBias.assign(tf.range(0, 6)));
      const { loaded } = await writeAndRead(model);
      expect(loaded.config).toEqual(model.config);
      expect(await logitsOf(loaded, ids)).toEqual(await logitsOf(model, ids));
      model.dispose();
      loaded.dispose();
    });

    it.skipIf(slow)(`${name}: is blind to padding, learns in every variable and leaks nothing`, async () => {
      const { capacity: _, ...unlimited } = mixture; // places are counted over all tokens of a batch
      const model = modelOf(unlimited);
      const target = trainable(model, { klBalance: 0.1, zLoss: 0.01, domainSupervision: 0.1, sequenceBalance: 0.1 });
      const stepOf = async (padding: number, seed?: number) => {
        const { value, grads } = tf.variableGrads(
          () => target.loss(batchOf(padding), { tokensInStep: 10, ...(seed === undefined ? {} : { seed }) }).total,
          [...target.parameters().values()],
        );
        const [total] = await value.data();
        const gradients = new Map<string, Float32Array>();
        for (const [path, { name }] of target.parameters()) gradients.set(path, await grads[name]!.data<'float32'>());
        tf.dispose([value, grads]);
        return { total: total!, gradients };
      };
      const [plain, padded] = [await stepOf(0), await stepOf(3)];
      expect(padded.total).toBeCloseTo(plain.total, 4);
      for (const [path, gradient] of plain.gradients) {
        await expectClose(padded.gradients.get(path)!, gradient, LOGIT);
        expect(Math.max(...gradient.map(Math.abs)), path).toBeGreaterThan(0);
      }
      await expectNoLeak(() => stepOf(1, 7));
      model.dispose();
    });

    it.skipIf(slow && name !== forWebGpu[0])(
      `${name}: an error and a gate that is no number name the layer, and take nothing in`,
      async () => {
        const model = modelOf(mixture);
        const target = trainable(model, { klBalance: 0.1, zLoss: 0, domainSupervision: 0 });
        const session = model.createSession();
        await session.append(ids.slice(0, 3));
        const gate = [...model.parameters().keys()].find(
          (path) =>
            path.startsWith('model.layers.1.') && /gate\.(weight|\w*gate\.weight|down_proj\.weight)$/.test(path),
        )!;
        const before = [...(await model.parameters().get(gate)!.data())];
        spoil(model, gate, Number.NaN);
        await expect(session.append([5])).rejects.toThrow(/^model\.layers\.1: /);
        expect(session.length).toBe(3);
        const told = await lossMetrics(target).then(
          (metrics) => () => target.checkMetrics(metrics),
          (error: Error) => () => {
            throw error;
          },
        );
        expect(told).toThrow(/^model\.layers\.1: /);
        const variable = model.parameters().get(gate)!;
        tf.tidy(() => variable.assign(tf.tensor(before, variable.shape)));
        const whole = await logitsOf(model, ids.slice(0, 4));
        const { logits } = await session.append(ids.slice(3, 4));
        await expectClose(logits, whole.slice(3 * 13), LOGIT);
        session.dispose();
        model.dispose();
      },
    );
  }

  it.skipIf(slow)('limited capacity drops in training alone, and tells how much', async () => {
    const model = modelOf(mixtures['hierarchy, specialised experts, capacity']!);
    const ids = tf.tensor2d(batchOf().ids, [2, 5], 'int32');
    const { overflows } = model.forward(ids);
    expect(overflows).toEqual([]);
    const training = model.forward(ids, { context: { dropoutSeed: 1 } });
    expect(training.overflows.map(({ shape }) => shape)).toEqual([[6], [6]]);
    const metrics = await lossMetrics(trainable(model, { klBalance: 0, zLoss: 0, domainSupervision: 0 }), 1);
    const dropped = await Promise.all(training.overflows.map((overflow) => tf.tidy(() => tf.sum(overflow)).data()));
    expect(metrics.dropRate![0]).toBeGreaterThan(0);
    expect(metrics.dropRate![0]).toBeCloseTo((dropped[0]![0]! + dropped[1]![0]!) / 2 / 20, 1);
    tf.dispose([ids, ...training.overflows]);
    model.dispose();
  });

  it('a cache of attention alone is refused where more than attention looks along the sequence', () => {
    const model = modelOf(mixtures['supervisor, transformer experts']!);
    const [input, cache] = [tf.tensor2d([ids], [1, ids.length], 'int32'), new ConcatKvCache(20)];
    expect(() => model.forward(input, { cache })).toThrow('a pass with cache needs sequenceCache too');
    tf.dispose(input);
    cache.dispose();
    model.dispose();
  });

  it.skipIf(slow)('recorded choices can be repeated, whatever the weights say now', async () => {
    const model = modelOf(mixtures['top-k of SwiGLU experts']!);
    const other = modelOf(mixtures['top-k of SwiGLU experts']!, 2);
    const input = tf.tensor2d([ids], [1, ids.length], 'int32');
    const first = model.forward(input);
    const replay = await recordRouting(first.routings);
    const [same, forced] = [model.forward(input, { replay }), other.forward(input, { replay })];
    expect(await same.logits.data()).toEqual(await first.logits.data());
    for (const [layer, { indices }] of forced.routings.entries())
      expect([...(await indices.data())]).toEqual([...replay[layer]!.indices]);
    expect(() => model.forward(input, { replay: replay.slice(1) })).toThrow('the choices of 2 layers, got 1');
    const foreign = replay.map((choices) => ({ ...choices, numExperts: 11 }));
    expect(() => model.forward(input, { replay: foreign })).toThrow(
      /layer 0 chose \d of 11 experts, this model \d of \d/,
    );
    expect(() => model.forward(input, { mask: [1] })).toThrow('mask must have batch * seq = 8 entries, got 1.');
    const half = [1, 1, 0.5, 1, 1, 1, 1, 1];
    expect(() => model.forward(input, { mask: half })).toThrow('1 for real tokens and 0 for padding, got 0.5 at 2.');
    for (const { logits, routings } of [first, same, forced]) tf.dispose([logits, ...routings]);
    input.dispose();
    model.dispose();
    other.dispose();
  });

  it('a balance bias moves towards an even load after a step, and only there', async () => {
    const model = modelOf(mixtures['sigmoid scores, groups, bias and noise']!);
    const weights = { klBalance: 0, zLoss: 0, domainSupervision: 0 };
    const target = trainable(model, { ...weights, biasUpdateRate: 0.5 });
    expect([...target.buffers().keys()]).toEqual(
      [0, 1].map((layer) => `model.layers.${layer}.block_sparse_moe.gate.e_score_correction_bias`),
    );
    const load = [0.5, 0.3, 0.1, 0.1, 0, 0];
    target.afterStep({ expertLoadByLayer: [...load, ...load.toReversed()] });
    const moved = await Promise.all([...target.buffers().values()].map(async (bias) => [...(await bias.data())]));
    expect(moved).toEqual([
      [-0.5, -0.5, 0.5, 0.5, 0.5, 0.5],
      [0.5, 0.5, 0.5, 0.5, -0.5, -0.5],
    ]);
    const plain = modelOf(mixtures['top-k of SwiGLU experts']!);
    expect(() => trainable(plain, { ...weights, biasUpdateRate: 0.5 })).toThrow(
      'trainable: biasUpdateRate is 0.5, but the model has no balance bias; set mixture.balanceBias',
    );
    expect(() => trainable(plain, weights).afterStep({})).not.toThrow();
    plain.dispose();
    model.dispose();
  });
});

/** The metrics of one batch, read. */
async function lossMetrics(target: ReturnType<typeof trainable>, seed?: number) {
  const { total, metrics } = target.loss(batchOf(), { tokensInStep: 10, ...(seed === undefined ? {} : { seed }) });
  const read: Record<string, number[]> = {};
  for (const [name, metric] of Object.entries(metrics)) read[name] = [...(await metric.data())];
  tf.dispose([total, metrics]);
  return read;
}

describeOnBackends('our own layout', () => {
  it('is refused when its config is not one of ours, by file and field', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'own-'));
    const model = modelOf(mixtures['two stages, shared projections']!);
    await saveModelDirectory(model, directory);
    model.dispose();
    const file = join(directory, 'config.json');
    const json = JSON.parse(await readFile(file, 'utf8'));
    expect(json).toMatchObject({ model_type: 'therapeutic_moe', dtype: 'float32', config: { hiddenSize: 10 } });
    const refuses = async (change: object, says: string) => {
      await writeFile(file, JSON.stringify({ ...json, ...change }));
      await expect(loadModelDirectory(directory)).rejects.toThrow(says);
    };
    const { config } = json;
    await refuses({ config: undefined }, 'config.json: config must be an object, got undefined.');
    await refuses({ config: { ...config, later: 1 } }, "config.json: model config: unknown key 'later'");
    await refuses(
      { config: { ...config, mixture: { ...config.mixture, numExperts: 7 } } },
      'numGroups is 3 but numExperts is 7',
    );
    await refuses(
      { config: { ...config, mixture: { ...config.mixture, numExperts: 9 } } },
      'model.layers.0.block_sparse_moe.gate.expert_gate.weight must be [10,9] by config.json, got [10,6].',
    );
    await refuses({ model_type: 'gpt2' }, 'model_type is "gpt2", expected');
    await rm(directory, { recursive: true });
  });
});
