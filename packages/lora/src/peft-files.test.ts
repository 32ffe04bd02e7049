import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { openCheckpoint, packRows } from '@therapeutic-moe/checkpoint';
import { frozenMatrix } from '@therapeutic-moe/kernels';
import { FrozenLinear, type LinearLayer } from '@therapeutic-moe/nn';
import { describeOnBackends } from '@therapeutic-moe/test-kit';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { TwoLayerHost } from '../test/two-layer-host.js';
import {
  attachLora,
  type LoraAdapter,
  type LoraConfig,
  loadAdapterWeights,
  readAdapterConfig,
  resolveLoraConfig,
  saveAdapter,
} from './index.js';
import { writePeftFiles } from './peft-files.js';

const settings = { r: 2, loraAlpha: 5, loraDropout: 0.25, targetModules: ['q_proj', 'v_proj'] };

/** An adapter as training leaves it: no factor is zero. */
function trainedAdapter(host: TwoLayerHost, changes: Partial<LoraConfig> = {}): LoraAdapter {
  const adapter = attachLora(host, { ...settings, ...changes }, 1);
  for (const [i, { b }] of [...adapter.layers.values()].entries()) {
    tf.tidy(() => b.assign(tf.randomNormal(b.shape, 0, 1, 'float32', i + 1)));
  }
  return adapter;
}

const valuesOf = (adapter: LoraAdapter) =>
  Promise.all([...adapter.parameters().values()].map((factor) => factor.data()));

describeOnBackends('PEFT files', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'lora-'));
  });
  afterEach(() => rm(directory, { recursive: true }));

  async function changeConfig(change: Record<string, unknown>): Promise<void> {
    const file = join(directory, 'adapter_config.json');
    await writeFile(file, JSON.stringify({ ...JSON.parse(await readFile(file, 'utf8')), ...change }));
  }

  it.each<Partial<LoraConfig>>([
    {},
    { rankPattern: { '1.q_proj': 3 }, alphaPattern: { v_proj: 7 } },
    { useRslora: true, initLoraWeights: 'gaussian' },
    { targetModules: '.*[01]\\.v_proj' },
    { useDora: true },
  ])('read back what was written, settings and every bit of the factors: %j', async (changes) => {
    const [first, second] = [new TwoLayerHost(), new TwoLayerHost()];
    const adapter = trainedAdapter(first, changes);
    await saveAdapter(adapter, directory, 'some/base');
    expect(await readAdapterConfig(directory)).toEqual(resolveLoraConfig({ ...settings, ...changes }));
    const copy = attachLora(second, await readAdapterConfig(directory), 99);
    await loadAdapterWeights(copy, directory);
    expect(await valuesOf(copy)).toEqual(await valuesOf(adapter));
    first.dispose();
    second.dispose();
  });

  it('have the names and shapes of PEFT', async () => {
    const host = new TwoLayerHost();
    await saveAdapter(trainedAdapter(host, { useDora: true }), directory, 'some/base');
    const reader = await openCheckpoint(join(directory, 'adapter_model.safetensors'));
    expect(reader.names).toContain('base_model.model.layers.0.q_proj.lora_A.weight');
    expect(reader.entry('base_model.model.layers.0.q_proj.lora_A.weight').shape).toEqual([2, 5]);
    expect(reader.entry('base_model.model.layers.0.q_proj.lora_B.weight').shape).toEqual([3, 2]);
    expect(reader.entry('base_model.model.layers.0.q_proj.lora_magnitude_vector').shape).toEqual([3]);
    await reader.close();
    const config = JSON.parse(await readFile(join(directory, 'adapter_config.json'), 'utf8'));
    expect(config).toMatchObject({ peft_type: 'LORA', r: 2, lora_alpha: 5, base_model_name_or_path: 'some/base' });
    host.dispose();
  });

  it.each<[Record<string, unknown>, string]>([
    [{ use_dora: 'yes' }, 'adapter_config.json: lora: useDora must be true or false, got "yes".'],
    [{ init_lora_weights: 'eva' }, 'adapter_config.json: lora: initLoraWeights must be true, "gaussian"'],
    [{ use_rslora: 'yes' }, 'adapter_config.json: lora: useRslora must be true or false, got "yes".'],
    [{ bias: 'all' }, 'bias is "all", which is not implemented; only "none" is.'],
    [{ peft_type: 'IA3' }, 'peft_type is "IA3"'],
    [{ lora_bias: true }, 'lora_bias is true'],
    ...['arrow', 'corda', 'kasa', 'monteclora', 'velora'].map(
      (name) =>
        [{ [`${name}_config`]: {} }, `${name}_config is {}, which is not implemented; only null is.`] as [
          Record<string, unknown>,
          string,
        ],
    ),
    [{ exclude_modules: ['q_proj'] }, 'exclude_modules is ["q_proj"]'],
    [{ rank_pattern: { q_proj: 'x' } }, "rankPattern['q_proj'] must be a whole number of 1 or more, got x."],
    [{ target_modules: 'all-linear' }, 'which stands for other linears in each version of transformers; name them'],
    [{ target_modules: null }, 'targetModules is empty'],
    [{ r: 0 }, 'adapter_config.json: lora: r must be a whole number of 1 or more, got 0.'],
  ])('that ask for %j are refused', async (change, message) => {
    const host = new TwoLayerHost();
    await saveAdapter(trainedAdapter(host), directory);
    await changeConfig(change);
    await expect(readAdapterConfig(directory)).rejects.toThrow(message);
    host.dispose();
  });

  it('that are absent or not JSON are refused by file', async () => {
    await expect(readAdapterConfig(directory)).rejects.toThrow('adapter_config.json: cannot be read; a PEFT adapter');
    await writeFile(join(directory, 'adapter_config.json'), '{ "r": ');
    await expect(readAdapterConfig(directory)).rejects.toThrow('adapter_config.json: not valid JSON.');
    await writeFile(join(directory, 'adapter_config.json'), 'null');
    await expect(readAdapterConfig(directory)).rejects.toThrow('must hold an object, got null');
  });

  it('without the lengths that use_dora promises, or with lengths that nobody asked for, are refused', async () => {
    const [plain, dora] = [new TwoLayerHost(), new TwoLayerHost()];
    await saveAdapter(trainedAdapter(plain), directory);
    await changeConfig({ use_dora: true });
    const asked = attachLora(dora, await readAdapterConfig(directory), 1);
    await expect(loadAdapterWeights(asked, directory)).rejects.toThrow(
      'the adapter lacks base_model.model.layers.0.q_proj.lora_magnitude_vector.',
    );
    await saveAdapter(asked, directory);
    const third = new TwoLayerHost();
    await expect(loadAdapterWeights(attachLora(third, settings, 1), directory)).rejects.toThrow(
      'lora_magnitude_vector, which fits nothing in this model',
    );
    third.dispose();
    plain.dispose();
    dora.dispose();
  });

  it.each([
    ['int8', 1 / 127],
    ['bfloat16', 2 ** -7],
    ['float16', 2 ** -10],
  ] as const)(
    'that hold the base are read where it is frozen in %s, and not where it is another',
    async (dtype, step) => {
      const shape = [3, 5]; // as Hugging Face has it
      const weight = Float32Array.from({ length: 15 }, (_, i) => Math.sin(i + 1));
      let head: LinearLayer = new FrozenLinear(frozenMatrix(packRows(weight, [3, 5], dtype), shape, dtype));
      const host = {
        linears: () => new Map([['lm_head', { layer: head }]]),
        replaceLinear: (_: string, layer: LinearLayer) => {
          head = layer;
        },
      };
      const config = resolveLoraConfig({ r: 2, targetModules: ['lm_head'] });
      const adapter = attachLora(host, config, 1);
      const array = (name: string, shape: number[], values: Float32Array) => ({
        ...{ name: `base_model.model.lm_head.${name}.weight`, shape, dtype: 'F32' as const, read: async () => values },
      });
      const factors = [
        array('lora_A', [2, 5], new Float32Array(10).fill(0.5)),
        array('lora_B', [3, 2], new Float32Array(6).fill(0.25)),
      ];
      await writePeftFiles(directory, config, [array('base_layer', shape, weight), ...factors]);
      await loadAdapterWeights(adapter, directory);
      expect((await valuesOf(adapter))[0]![0]).toBe(0.5);
      const other = weight.map((value, i) => (i === 7 ? value * (1 + 1.5 * step) : value));
      await writePeftFiles(directory, config, [array('base_layer', shape, other), ...factors]);
      await expect(loadAdapterWeights(adapter, directory)).rejects.toThrow(
        'lm_head.base_layer.weight is not the weight',
      );
      head.dispose();
    },
  );

  it('of single experts are refused with the way to adapt these', async () => {
    const host = new TwoLayerHost();
    const adapter = trainedAdapter(host);
    const name = 'base_model.model.layers.0.mlp.experts.7.w1.lora_A.weight';
    await writePeftFiles(directory, adapter.config, [
      { name, shape: [1], dtype: 'F32', read: async () => new Float32Array(1) },
    ]);
    await expect(loadAdapterWeights(adapter, directory)).rejects.toThrow(
      `holds ${name}, which fits nothing in this model: it adapts single experts, which lie in stacks here; train it with target_parameters`,
    );
    host.dispose();
  });

  it('of another base are refused and change nothing', async () => {
    const source = new TwoLayerHost();
    await saveAdapter(trainedAdapter(source), directory);
    for (const [host, message] of [
      [new TwoLayerHost({ inputSize: 7 }), 'must be [2,7], got [2,5]; was the adapter made for another base?'],
      [new TwoLayerHost({ layers: 1 }), 'which fits nothing in this model; was it made for another base?'],
      [new TwoLayerHost({ layers: 3 }), 'the adapter lacks base_model.model.layers.2.q_proj.lora_A.weight'],
    ] as const) {
      const adapter = attachLora(host, settings, 3);
      const before = await valuesOf(adapter);
      await expect(loadAdapterWeights(adapter, directory)).rejects.toThrow(message);
      expect(await valuesOf(adapter)).toEqual(before);
      host.dispose();
    }
    source.dispose();
  });
});
