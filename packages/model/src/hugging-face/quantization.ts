import type { CheckpointReader } from '@therapeutic-moe/checkpoint';
import { requireObject } from '../require-object.js';

type Json = Readonly<Record<string, unknown>>;

/** How a checkpoint stores weights in 8 bits: whole numbers `[out, in]` with one scale for each output. */
export class Int8Weights {
  constructor(
    /** The last part of the name of the scales, which stand beside `weight`. */
    private readonly scale: 'weight_scale' | 'SCB',
    /** A weight is its whole number times its scale times this. */
    private readonly step: number,
    /** Last parts of other names that may stand there; their values must be 0. */
    private readonly zeros: readonly string[],
  ) {}

  /** The tensor that holds a weight's scales. */
  scalesOf(weight: string): string {
    return beside(weight, this.scale);
  }

  /** Tensors that may stand beside a weight and must hold zeros. */
  zerosOf(weight: string): string[] {
    return this.zeros.map((last) => beside(weight, last));
  }

  /** Scales of a weight, so that a weight is its whole number times its scale: float32 `[out]`. */
  async readScales(reader: CheckpointReader, weight: string): Promise<Float32Array> {
    return (await reader.read(this.scalesOf(weight))).map((scale) => scale * this.step);
  }
}

function beside(weight: string, last: string): string {
  return weight.replace(/[^.]+$/, last);
}

/** `float32(1 / 127)`: LLM.int8() stores the largest magnitude of a row, which 127 stands for (arXiv:2208.07339). */
const STEP_OF_127 = Math.fround(1 / 127);

/** Values that a field may have; a function says it in words where they are many. */
type Accepted = readonly unknown[] | 'anything';

const NOTHING: Accepted = [undefined, null, false, {}];

/**
 * compressed-tensors, 8-bit weights with a symmetric scale per output. What it says about how weights were found changes
 * nothing that is stored.
 */
const compressedTensors: Readonly<Record<string, Accepted>> = {
  quant_method: ['compressed-tensors', 'bitsandbytes'],
  format: ['int-quantized', 'naive-quantized'],
  quantization_status: ['compressed'],
  kv_cache_scheme: NOTHING,
  sparsity_config: NOTHING,
  transform_config: NOTHING,
  config_groups: 'anything', // looked into below
  ignore: 'anything', // weights that are stored as floats are read as floats
  global_compression_ratio: 'anything',
  version: 'anything',
};

const group: Readonly<Record<string, Accepted>> = {
  targets: 'anything', // likewise
  weights: 'anything', // looked into below
  input_activations: 'anything', // likewise
  output_activations: NOTHING,
  format: [undefined, null, 'int-quantized', 'naive-quantized'],
};

const weights: Readonly<Record<string, Accepted>> = {
  num_bits: [8],
  type: ['int'],
  symmetric: [true],
  strategy: ['channel'],
  dynamic: [false, undefined],
  group_size: [undefined, null, -1],
  block_structure: NOTHING,
  actorder: NOTHING,
  scale_dtype: 'anything',
  zp_dtype: 'anything',
  observer: 'anything',
  observer_kwargs: 'anything',
};

/** Activations that are rounded as they come, with nothing stored: here they are not rounded. */
const activations: Readonly<Record<string, Accepted>> = {
  ...weights,
  strategy: ['token'],
  dynamic: [true],
};

/** bitsandbytes LLM.int8(): all but the weights' bits concerns how the library multiplies. */
const bitsAndBytes: Readonly<Record<string, Accepted>> = {
  quant_method: ['bitsandbytes'],
  load_in_8bit: [true],
  _load_in_8bit: [true, undefined],
  load_in_4bit: [false, undefined],
  _load_in_4bit: [false, undefined],
  llm_int8_has_fp16_weight: [false, undefined],
  llm_int8_threshold: 'anything',
  llm_int8_skip_modules: 'anything',
  llm_int8_enable_fp32_cpu_offload: 'anything',
  bnb_4bit_compute_dtype: 'anything',
  bnb_4bit_quant_type: 'anything',
  bnb_4bit_quant_storage: 'anything',
  bnb_4bit_use_double_quant: 'anything',
};

/**
 * How `quantization_config` of a `config.json` stores weights: int8 of compressed-tensors (per channel, symmetric) and of
 * bitsandbytes. Both libraries also round the activations of a product to 8 bits while they run; here products are those
 * of the stored weights with activations as they are.
 *
 * @returns undefined where the weights are floats.
 * @throws naming the field and the value when anything else is asked for.
 */
export function quantizationFromHuggingFace(json: Json, file: string): Int8Weights | undefined {
  if (json.quantization_config === undefined || json.quantization_config === null) return undefined;
  const where = `${file}: quantization_config`;
  const config = requireObject(json.quantization_config, where) as Json;
  if (config.quant_method === 'bitsandbytes') {
    checkFields(config, bitsAndBytes, where);
    return new Int8Weights('SCB', STEP_OF_127, ['weight_format']);
  }
  checkFields(config, compressedTensors, where);
  const groups = requireObject(config.config_groups, `${where}.config_groups`) as Json;
  for (const [name, content] of Object.entries(groups)) checkGroup(content, `${where}.config_groups.${name}`);
  return new Int8Weights('weight_scale', 1, ['weight_zero_point']);
}

function checkGroup(content: unknown, where: string): void {
  const one = requireObject(content, where) as Json;
  checkFields(one, group, where);
  checkFields(requireObject(one.weights, `${where}.weights`) as Json, weights, `${where}.weights`);
  const inputs = one.input_activations;
  if (inputs === undefined || inputs === null) return;
  const there = `${where}.input_activations`;
  checkFields(requireObject(inputs, there) as Json, activations, there);
}

function checkFields(found: Json, known: Readonly<Record<string, Accepted>>, where: string): void {
  for (const field of new Set([...Object.keys(known), ...Object.keys(found)])) {
    const accepted = Object.hasOwn(known, field) ? known[field]! : NOTHING;
    if (accepted === 'anything' || accepted.some((one) => isSame(one, found[field]))) continue;
    const named = accepted
      .filter((one) => typeof one !== 'object' && one !== undefined)
      .map((one) => JSON.stringify(one));
    throw new Error(
      `${where}.${field} is ${JSON.stringify(found[field]) ?? 'absent'}, which is not implemented; only ${named.join(' or ')} is.`,
    );
  }
}

/** An empty object or list says as little as null. */
function isSame(accepted: unknown, value: unknown): boolean {
  if (typeof accepted !== 'object' || accepted === null) return accepted === value;
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0;
}
