import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import {
  type CheckpointReader,
  openCheckpoint,
  type PendingArray,
  writeFileAtomic,
  writeSafetensors,
} from '@therapeutic-moe/checkpoint';
import type { LoraAdapter } from './adapter.js';
import { startsFromBase } from './base-start.js';
import { baseName, type FileShapes, fileFactors, fileShapes } from './file-factors.js';
import { type LoraConfig, resolveLoraConfig } from './lora-config.js';

/**
 * PEFT fields that change what an adapter computes and that this package does not implement, with the only value it
 * accepts.
 */
const onlyValues: Record<string, readonly unknown[]> = {
  peft_type: ['LORA'],
  bias: ['none', undefined],
  fan_in_fan_out: [false, undefined],
  modules_to_save: [null, undefined],
  layers_to_transform: [null, undefined],
  layer_replication: [null, undefined],
  exclude_modules: [null, undefined],
  trainable_token_indices: [null, undefined],
  alora_invocation_tokens: [null, undefined],
  lora_bias: [false, undefined],
  use_qalora: [false, undefined],
  use_bdlora: [null, false, undefined],
  arrow_config: [null, undefined],
  corda_config: [null, undefined],
  kasa_config: [null, undefined],
  monteclora_config: [null, undefined],
  velora_config: [null, undefined],
};

/**
 * Writes an adapter as PEFT does: `adapter_config.json` and `adapter_model.safetensors` with `lora_A` `[r, in]`,
 * `lora_B` `[out, r]` and with DoRA `lora_magnitude_vector` `[out]`. An adapter that took over a part of the base (PiSSA,
 * OLoRA) becomes a plain one of rank 2r for the base as it is, `A B - A0 B0`, as PEFT's
 * `path_initial_model_for_weight_conversion` makes it.
 *
 * @param baseModel what PEFT records as `base_model_name_or_path`; absent: nothing.
 */
export async function saveAdapter(adapter: LoraAdapter, directory: string, baseModel?: string): Promise<void> {
  const tensors: PendingArray[] = fileFactors(adapter).map(({ name, layout, variable, written }) => ({
    ...{ name, shape: layout.shapeOf(written?.shape ?? variable.shape), dtype: 'F32' },
    read: async () => {
      const turned = tf.tidy(() => layout.toFile(written?.value() ?? variable));
      try {
        return await turned.data<'float32'>();
      } finally {
        turned.dispose();
      }
    },
  }));
  await writePeftFiles(directory, plainConfig(adapter.config), tensors, baseModel);
}

/** The config of the plain adapter that one of rank 2r is, with the scales of the first. */
function plainConfig(config: LoraConfig): LoraConfig {
  if (!startsFromBase(config)) return config;
  const times = (patterns: Readonly<Record<string, number>>, factor: number) =>
    Object.fromEntries(Object.entries(patterns).map(([pattern, value]) => [pattern, value * factor]));
  const stretch = config.useRslora ? Math.SQRT2 : 2; // alpha / sqrt(r), or alpha / r
  return {
    ...config,
    r: 2 * config.r,
    loraAlpha: stretch * config.loraAlpha,
    rankPattern: times(config.rankPattern, 2),
    alphaPattern: times(config.alphaPattern, stretch),
    initLoraWeights: true,
  };
}

/**
 * Writes the two files of an adapter folder, the tensors first.
 *
 * @param tensors under PEFT's names, in its shapes.
 */
export async function writePeftFiles(
  directory: string,
  config: LoraConfig,
  tensors: Iterable<PendingArray>,
  baseModel?: string,
): Promise<void> {
  await mkdir(directory, { recursive: true });
  await writeSafetensors(join(directory, 'adapter_model.safetensors'), tensors, { format: 'pt' });
  const json = configToPeft(config, baseModel);
  await writeFileAtomic(join(directory, 'adapter_config.json'), `${JSON.stringify(json, null, 2)}\n`);
}

/**
 * Reads `adapter_config.json`.
 *
 * @throws when it asks for something that would change the result and is not implemented here.
 */
export async function readAdapterConfig(directory: string): Promise<LoraConfig> {
  const file = join(directory, 'adapter_config.json');
  const json = await readJson(file);
  for (const [field, accepted] of Object.entries(onlyValues)) {
    const value = Array.isArray(json[field]) && json[field].length === 0 ? null : json[field];
    if (!accepted.includes(value)) {
      throw new Error(
        `${file}: ${field} is ${JSON.stringify(json[field])}, which is not implemented; only ${JSON.stringify(accepted[0])} is.`,
      );
    }
  }
  if (json.target_modules === 'all-linear') {
    throw new Error(
      `${file}: target_modules is "all-linear", which stands for other linears in each version of transformers; name them, as PEFT does when it saves.`,
    );
  }
  if (typeof json.init_lora_weights === 'string' && json.init_lora_weights.startsWith('pissa_niter_')) {
    throw new Error(
      `${file}: init_lora_weights is "${json.init_lora_weights}": this adapter belongs to a base less a part that was found with random numbers and is not in these files. Save it again with PEFT's path_initial_model_for_weight_conversion, which makes a plain adapter of it.`,
    );
  }
  try {
    return resolveLoraConfig(configFromPeft(json));
  } catch (cause) {
    throw new Error(`${file}: ${(cause as Error).message}`, { cause });
  }
}

/** The base that `adapter_config.json` names, if it does. */
export async function readBaseModel(directory: string): Promise<string | undefined> {
  const { base_model_name_or_path: name } = await readJson(join(directory, 'adapter_config.json'));
  return typeof name === 'string' ? name : undefined;
}

/** What PEFT 0.21 writes for every setting that is not used here. */
const unused = {
  alora_invocation_tokens: null,
  arrow_config: null,
  auto_mapping: null,
  bias: 'none',
  corda_config: null,
  ensure_weight_tying: false,
  eva_config: null,
  exclude_modules: null,
  fan_in_fan_out: false,
  inference_mode: true,
  kasa_config: null,
  layer_replication: null,
  layers_pattern: null,
  layers_to_transform: null,
  loftq_config: {},
  lora_bias: false,
  lora_ga_config: null,
  megatron_config: null,
  megatron_core: 'megatron.core',
  modules_to_save: null,
  monteclora_config: null,
  peft_type: 'LORA',
  peft_version: '0.21.0', // whose file this is, field by field
  qalora_group_size: 16,
  revision: null,
  task_type: 'CAUSAL_LM',
  trainable_token_indices: null,
  use_bdlora: null,
  use_qalora: false,
  velora_config: null,
};

/** PEFT's fields, sorted by name as PEFT sorts them. */
function configToPeft(config: LoraConfig, baseModel?: string): Record<string, unknown> {
  const fields = {
    ...unused,
    alpha_pattern: config.alphaPattern,
    base_model_name_or_path: baseModel ?? null,
    init_lora_weights: config.initLoraWeights,
    lora_alpha: config.loraAlpha,
    lora_dropout: config.loraDropout,
    r: config.r,
    rank_pattern: config.rankPattern,
    target_modules: config.targetModules,
    target_parameters: config.targetParameters.length > 0 ? config.targetParameters : null,
    use_dora: config.useDora,
    use_rslora: config.useRslora,
  };
  return Object.fromEntries(Object.entries(fields).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Checks nothing: `resolveLoraConfig` does. A null is PEFT's word for a default. */
function configFromPeft(json: Record<string, unknown>): Partial<LoraConfig> {
  return {
    r: json.r ?? null,
    loraAlpha: json.lora_alpha ?? null,
    loraDropout: json.lora_dropout ?? undefined,
    targetModules: json.target_modules ?? [],
    targetParameters: json.target_parameters ?? undefined,
    rankPattern: json.rank_pattern ?? undefined,
    alphaPattern: json.alpha_pattern ?? undefined,
    useRslora: json.use_rslora ?? undefined,
    useDora: json.use_dora ?? undefined,
    initLoraWeights: json.init_lora_weights || true, // how factors that the file holds were drawn says nothing
  } as Partial<LoraConfig>;
}

async function readJson(file: string): Promise<Record<string, unknown>> {
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new Error(`${file}: cannot be read; a PEFT adapter folder holds adapter_config.json.`, { cause });
  });
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new Error(`${file}: not valid JSON.`, { cause });
  }
  if (typeof json !== 'object' || json === null) throw new Error(`${file}: must hold an object, got ${text.trim()}.`);
  return json as Record<string, unknown>;
}

/**
 * Fills an attached adapter from `adapter_model.safetensors`.
 *
 * @throws when a tensor is missing, surplus or of another shape; nothing is assigned then.
 */
export async function loadAdapterWeights(adapter: LoraAdapter, directory: string): Promise<void> {
  await withFile(directory, async (reader, file) => {
    checkShapes(reader, file, fileShapes(adapter));
    // With an adapter on the head PEFT saves the head too, in case it has grown with the vocabulary.
    for (const [path, update] of adapter.layers) {
      const name = baseName(path);
      if (!reader.names.includes(name) || (await update.isOn(await reader.read(name)))) continue;
      throw new Error(
        `${file}: ${name} is not the weight that this model has there; the adapter was made for another base.`,
      );
    }
    for (const { name, layout, variable } of fileFactors(adapter)) {
      const values = await reader.read(name);
      tf.tidy(() => variable.assign(layout.fromFile(values, variable.shape)));
    }
  });
}

/**
 * Looks into `adapter_model.safetensors` before an adapter is made.
 *
 * @throws when a tensor is missing, surplus or of another shape than expected.
 */
export async function checkAdapterWeights(directory: string, expected: FileShapes): Promise<void> {
  await withFile(directory, async (reader, file) => checkShapes(reader, file, expected));
}

async function withFile(
  directory: string,
  work: (reader: CheckpointReader, file: string) => Promise<void>,
): Promise<void> {
  const file = join(directory, 'adapter_model.safetensors');
  const reader = await openCheckpoint(file);
  try {
    await work(reader, file);
  } finally {
    await reader.close();
  }
}

function checkShapes(reader: CheckpointReader, file: string, { factors, bases }: FileShapes): void {
  const surplus = reader.names.find((name) => !factors.has(name) && !bases.has(name));
  if (surplus !== undefined) {
    const why = /\.experts\.\d+\./.test(surplus)
      ? ': it adapts single experts, which lie in stacks here; train it with target_parameters instead.'
      : '; was it made for another base?';
    throw new Error(`${file}: the adapter holds ${surplus}, which fits nothing in this model${why}`);
  }
  const missing = [...factors.keys()].find((name) => !reader.names.includes(name));
  if (missing !== undefined) throw new Error(`${file}: the adapter lacks ${missing}.`);
  for (const name of reader.names) {
    const [expected, found] = [factors.get(name) ?? bases.get(name)!, reader.entry(name).shape];
    if (found.join() !== expected.join())
      throw new Error(`${file}: ${name} must be [${expected}], got [${found}]; was the adapter made for another base?`);
  }
}
