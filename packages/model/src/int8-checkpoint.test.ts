import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { thaw } from '@therapeutic-moe/kernels';
import { describeOnBackends, expectClose } from '@therapeutic-moe/test-kit';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { tinyModel } from '../test/tiny-model.js';
import { type StoredTensor, writeStored } from '../test/write-stored.js';
import { loadModelDirectory, saveModelDirectory } from './index.js';

const q = 'model.layers.0.self_attn.q_proj';
const weights = { num_bits: 8, type: 'int', symmetric: true, strategy: 'channel', dynamic: false, group_size: null };
const compressed = {
  quant_method: 'compressed-tensors',
  format: 'int-quantized',
  quantization_status: 'compressed',
  ignore: ['lm_head'],
  kv_cache_scheme: null,
  config_groups: {
    group_0: {
      targets: ['Linear'],
      weights: { ...weights, observer: 'minmax', observer_kwargs: {}, block_structure: null, actorder: null },
      input_activations: { ...weights, strategy: 'token', dynamic: true, observer: null },
      output_activations: null,
    },
  },
};
const bitsAndBytes = {
  quant_method: 'bitsandbytes',
  load_in_8bit: true,
  load_in_4bit: false,
  llm_int8_threshold: 6.0,
  llm_int8_skip_modules: ['lm_head'],
  llm_int8_has_fp16_weight: false,
};

describeOnBackends('a checkpoint of 8 bits', () => {
  let directory: string;
  /** Sizes of the projection that is stored in 8 bits. */
  let [outputs, inputs] = [0, 0];
  let integers: Int8Array;
  let scales: Float32Array;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'int8-'));
    const model = tinyModel();
    await saveModelDirectory(model, directory);
    ({ inputSize: inputs, outputSize: outputs } = model.linears().get(q)!.layer);
    model.dispose();
    integers = Int8Array.from({ length: outputs * inputs }, (_, i) => ((i * 37) % 256) - 128);
    scales = Float32Array.from({ length: outputs }, (_, i) => 0.001 * (i + 1));
  });
  afterEach(() => rm(directory, { recursive: true }));

  /** Stores the projection as integers, with what stands beside it. */
  async function quantise(config: object, beside: readonly StoredTensor[]): Promise<void> {
    const weight = {
      name: `${q}.weight`,
      dtype: 'I8',
      shape: [outputs, inputs],
      bytes: new Uint8Array(integers.buffer),
    };
    await writeStored(join(directory, 'model.safetensors'), [weight, ...beside]);
    const file = join(directory, 'config.json');
    await writeFile(file, JSON.stringify({ ...JSON.parse(await readFile(file, 'utf8')), quantization_config: config }));
  }

  const ofScales = (name: string, shape: number[]): StoredTensor => ({
    name: `${q}.${name}`,
    dtype: 'F32',
    shape,
    bytes: new Uint8Array(scales.buffer),
  });

  for (const [what, config, beside, step] of [
    ['compressed-tensors', compressed, () => [ofScales('weight_scale', [outputs, 1])], 1],
    [
      'compressed-tensors with zero points of 0',
      { ...compressed, format: 'naive-quantized' },
      () => [
        ofScales('weight_scale', [outputs]),
        { name: `${q}.weight_zero_point`, dtype: 'I8', shape: [outputs, 1], bytes: new Uint8Array(outputs) },
      ],
      1,
    ],
    [
      'bitsandbytes',
      bitsAndBytes,
      () => [
        ofScales('SCB', [outputs]),
        { name: `${q}.weight_format`, dtype: 'U8', shape: [], bytes: new Uint8Array(1) },
      ],
      Math.fround(1 / 127),
    ],
  ] as const) {
    it(`of ${what} is its integers times their scales`, async () => {
      await quantise(config, beside());
      const model = await loadModelDirectory(directory);
      const expected = Array.from({ length: inputs * outputs }, (_, at) => {
        const [i, o] = [Math.floor(at / outputs), at % outputs];
        return Math.fround(integers[o * inputs + i]! * Math.fround(scales[o]! * step));
      });
      await expectClose(model.parameters().get(`${q}.weight`)!, expected, 0);
      model.dispose();
      const frozen = await loadModelDirectory(directory, { weights: 'int8' });
      const thawed = thaw(frozen.frozenWeights.get(`${q}.weight`)!);
      await expectClose(thawed, expected, 0); // -128 too, which we write ourselves nowhere
      thawed.dispose();
      frozen.dispose();
    });
  }

  it('is refused without scales, with scales of another shape, and with zero points or another order', async () => {
    const before = tf.memory().numTensors;
    const zero = { name: `${q}.weight_zero_point`, dtype: 'I8', shape: [1], bytes: Uint8Array.of(3) };
    const format = { name: `${q}.weight_format`, dtype: 'U8', shape: [], bytes: Uint8Array.of(1) };
    const scale = () => ofScales('weight_scale', [outputs, 1]);
    for (const [config, beside, says] of [
      [compressed, [], `the checkpoint lacks ${q}.weight_scale [${outputs}], the scales of ${q}.weight`],
      [
        compressed,
        [{ ...scale(), shape: [1, outputs] }],
        `weight_scale must be F32 or F16 or BF16 [${outputs}] or [${outputs},1]`,
      ],
      [compressed, [{ ...scale(), dtype: 'I32' }], `got I32 [${outputs},1]`],
      [compressed, [scale(), zero], `model.safetensors: ${q}.weight_zero_point must be 0`],
      [compressed, [scale(), ofScales('SCB', [outputs])], `${q}.SCB [${outputs}] fits nothing in this model`],
      [bitsAndBytes, [ofScales('SCB', [outputs]), format], `${q}.weight_format must be 0`],
      [null, [scale()], `${q}.weight must be stored as F32, F16, BF16, got I8; config.json has no quantization_config`],
    ] as const) {
      await quantise(config as object, beside);
      await expect(loadModelDirectory(directory)).rejects.toThrow(says);
    }
    expect(tf.memory().numTensors).toBe(before);
  });

  it('is refused by field and value where another way to store is asked for', async () => {
    const group = (change: object) => ({
      ...compressed,
      config_groups: { group_0: { ...compressed.config_groups.group_0, ...change } },
    });
    for (const [config, says] of [
      [
        { quant_method: 'gptq', bits: 4 },
        'quantization_config.quant_method is "gptq", which is not implemented; only "compressed-tensors" or "bitsandbytes" is.',
      ],
      [{ ...compressed, format: 'pack-quantized' }, 'quantization_config.format is "pack-quantized"'],
      [{ ...compressed, kv_cache_scheme: { num_bits: 8 } }, 'quantization_config.kv_cache_scheme is {"num_bits":8}'],
      [{ ...compressed, new_field: 1 }, 'quantization_config.new_field is 1'],
      [
        group({ weights: { ...weights, num_bits: 4 } }),
        'config_groups.group_0.weights.num_bits is 4, which is not implemented; only 8 is.',
      ],
      [group({ weights: { ...weights, symmetric: false } }), 'weights.symmetric is false'],
      [group({ weights: { ...weights, strategy: 'group', group_size: 128 } }), 'weights.strategy is "group"'],
      [group({ input_activations: { ...weights, strategy: 'tensor' } }), 'input_activations.strategy is "tensor"'],
      [group({ output_activations: weights }), 'group_0.output_activations is {'],
      [{ ...bitsAndBytes, load_in_8bit: false, load_in_4bit: true }, 'quantization_config.load_in_8bit is false'],
      [{ ...bitsAndBytes, llm_int8_has_fp16_weight: true }, 'llm_int8_has_fp16_weight is true'],
    ] as const) {
      await quantise(config, []);
      await expect(loadModelDirectory(directory)).rejects.toThrow(says);
    }
  });
});
