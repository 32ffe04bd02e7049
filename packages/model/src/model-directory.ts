import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { type CheckpointReader, openCheckpoint } from '@therapeutic-moe/checkpoint';
import { CausalLm } from './causal-lm.js';
import { configFromHuggingFace } from './hugging-face/config.js';
import { placePiece, type TensorPiece, tensorMap } from './hugging-face/tensor-map.js';
import type { ModelConfig } from './model-config.js';
import { configFromOwn, OWN_MODEL_TYPE } from './own-layout/config.js';
import { ownTensorMap } from './own-layout/tensor-map.js';

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
 *
 * @returns a model on the active backend; the caller disposes it.
 * @throws when a tensor is missing, surplus or of another shape: before anything is allocated, naming file and tensor.
 */
export async function loadModelDirectory(directory: string): Promise<CausalLm> {
  const [json, file] = await readConfigJson(directory);
  const config = configFromJson(json, file);
  const reader = await openCheckpoint(directory);
  try {
    const map = checkpointTensors(json, config, reader.names);
    checkTensors(reader, map, directory);
    const model = CausalLm.empty(config);
    try {
      await fill(model, reader, map);
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

async function fill(model: CausalLm, reader: CheckpointReader, map: Map<string, TensorPiece[]>): Promise<void> {
  for (const [path, variable] of variablesOf(model)) {
    const values = new Float32Array(variable.size);
    for (const [name, pieces] of byTensor(map.get(path)!)) {
      const source = await reader.read(name);
      for (const piece of pieces) placePiece(piece, partOf(piece, source), values);
    }
    tf.tidy(() => variable.assign(tf.tensor(values, variable.shape)));
  }
}

/** Pieces of the same tensor together, so that it is read once. */
function byTensor(pieces: readonly TensorPiece[]): Map<string, TensorPiece[]> {
  const tensors = new Map<string, TensorPiece[]>();
  for (const piece of pieces) tensors.set(piece.name, [...(tensors.get(piece.name) ?? []), piece]);
  return tensors;
}

/** The values of a piece, in those of its tensor. */
function partOf({ shape, within }: TensorPiece, tensor: Float32Array): Float32Array {
  return within ? tensor.subarray(within.start, within.start + shape.reduce((a, b) => a * b, 1)) : tensor;
}

export function checkTensors(reader: CheckpointReader, map: Map<string, TensorPiece[]>, directory: string): void {
  const wanted = new Map([...map.values()].flat().map((piece) => [piece.name, piece]));
  const present = new Set(reader.names);
  for (const { name, ...piece } of wanted.values()) {
    const { shape } = piece.within ?? piece;
    if (!present.has(name))
      throw new Error(`${directory}: the checkpoint lacks ${name} [${shape}], which config.json asks for.`);
    const found = reader.entry(name).shape;
    if (found.join() !== shape.join())
      throw new Error(`${directory}: ${name} must be [${shape}] by config.json, got [${found}].`);
  }
  for (const name of present) {
    // Older exports carry the rotary frequencies, which follow from the config.
    if (wanted.has(name) || name.endsWith('.rotary_emb.inv_freq')) continue;
    throw new Error(
      `${directory}: ${name} [${reader.entry(name).shape}] fits nothing in this model; is config.json another model's?`,
    );
  }
}
