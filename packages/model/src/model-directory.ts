import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type * as tf from '@tensorflow/tfjs-core';
import { type CheckpointReader, openCheckpoint } from '@therapeutic-moe/checkpoint';
import { CausalLm } from './causal-lm.js';
import { checkTensors, checkZeros } from './check-tensors.js';
import { configFromHuggingFace } from './hugging-face/config.js';
import { type Int8Weights, quantizationFromHuggingFace } from './hugging-face/quantization.js';
import { type TensorPiece, tensorMap } from './hugging-face/tensor-map.js';
import { loadFrozen } from './load-frozen.js';
import { LoadPlan } from './load-parameters.js';
import type { ModelConfig } from './model-config.js';
import { configFromOwn, OWN_MODEL_TYPE } from './own-layout/config.js';
import { ownTensorMap } from './own-layout/tensor-map.js';
import { variableSink } from './parameter-sink.js';
import type { WeightDtype } from './weight-dtype.js';

/** Reads `config.json` of a checkpoint folder; nothing else is opened. */
export async function readModelConfig(directory: string): Promise<ModelConfig> {
  return configFromJson(...(await readConfigJson(directory)));
}

export async function readConfigJson(directory: string): Promise<[content: unknown, file: string]> {
  const file = join(directory, 'config.json');
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new Error(`${file}: cannot be read; a model folder holds config.json and model.safetensors.`, { cause });
  });
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new Error(`${file}: not valid JSON.`, { cause });
  }
  return [json, file];
}

/**
 * A `config.json` of either layout: Hugging Face's, or our own by its `model_type`.
 *
 * @param content the parsed JSON. @param file named in errors.
 */
export function configFromJson(content: unknown, file = 'config.json'): ModelConfig {
  return isOwn(content) ? configFromOwn(content, file) : configFromHuggingFace(content, file);
}

function isOwn(content: unknown): boolean {
  return (content as { model_type?: unknown } | null)?.model_type === OWN_MODEL_TYPE;
}

/** How a `config.json` says that weights are stored in 8 bits; undefined where they are floats. */
export function int8Weights(content: unknown, file: string): Int8Weights | undefined {
  return isOwn(content) ? undefined : quantizationFromHuggingFace(content as Record<string, unknown>, file);
}

/** What a checkpoint with this `config.json` holds: paths of ours, each with the pieces that make it up. @param names of its tensors. */
export function checkpointTensors(
  content: unknown,
  config: ModelConfig,
  names: readonly string[],
): Map<string, TensorPiece[]> {
  return isOwn(content) ? ownTensorMap(config) : tensorMap(config, names);
}

/**
 * Loads a checkpoint folder, in Hugging Face's layout or our own: `config.json` and `model.safetensors`, whole or in shards.
 * Weights are float32 on the device, or with `weights` linears, experts, embedding and head are frozen in fewer bytes: an
 * adapter can be trained on such a model, and it never exists in float32. Files may hold F32, F16, BF16, or I8 with scales
 * where `quantization_config` says so.
 * Tensors are streamed, a few rows at a time: the host holds less than twice the largest tensor of the files.
 *
 * @returns a model on the active backend; the caller disposes it.
 * @throws when a tensor is missing, surplus or of another shape or type: before anything is allocated, naming file and tensor.
 */
export async function loadModelDirectory(
  directory: string,
  { weights = 'float32' }: { readonly weights?: WeightDtype } = {},
): Promise<CausalLm> {
  const [json, file] = await readConfigJson(directory);
  const config = configFromJson(json, file);
  const reader = await openCheckpoint(directory);
  try {
    const map = checkpointTensors(json, config, reader.names);
    const int8 = int8Weights(json, file);
    checkTensors(reader, map, int8);
    if (int8) await checkZeros(reader, map, int8);
    const model =
      weights === 'float32'
        ? CausalLm.unfilled(config)
        : CausalLm.frozen(config, await loadFrozen(config, weights, reader, map, int8));
    try {
      await fill(model, reader, map, int8);
    } catch (thrown) {
      model.dispose();
      throw thrown;
    }
    return model;
  } finally {
    await reader.close();
  }
}

/** All that a checkpoint holds. */
function variablesOf(model: CausalLm): Map<string, tf.Variable> {
  return new Map([...model.parameters(), ...model.buffers()]);
}

/** Streams the tensors to the device, a few rows at a time. */
async function fill(
  model: CausalLm,
  reader: CheckpointReader,
  map: Map<string, TensorPiece[]>,
  int8: Int8Weights | undefined,
): Promise<void> {
  const variables = variablesOf(model);
  const forgotten = [...variables.keys()].find((path) => !map.has(path)); // its memory would hold what was there before
  if (forgotten !== undefined) throw new Error(`loadModelDirectory: no tensor is known to hold ${forgotten}.`);
  const plan = new LoadPlan(reader, new Map([...map].filter(([path]) => variables.has(path))));
  const buffers = plan.buffers();
  await plan.run(buffers, (path) => variableSink(variables.get(path)!, buffers.staging), int8);
}
