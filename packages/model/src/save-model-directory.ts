import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type * as tf from '@tensorflow/tfjs-core';
import {
  type PendingArray,
  writeFileAtomic,
  writeSafetensors,
  writeShardedSafetensors,
} from '@therapeutic-moe/checkpoint';
import type { CausalLm } from './causal-lm.js';
import { formToHuggingFace } from './hugging-face/config-to-hugging-face.js';
import { type HuggingFaceForm, huggingFaceForm, requireHuggingFaceForm } from './hugging-face/family.js';
import { pieceValues } from './hugging-face/piece-values.js';
import { type TensorPiece, tensorMap } from './hugging-face/tensor-map.js';
import type { ModelConfig } from './model-config.js';
import { configToOwn } from './own-layout/config.js';
import { ownTensorMap } from './own-layout/tensor-map.js';
import { refuseAdapters } from './refuse-adapters.js';

/** How a model is written. */
export interface SaveModelOptions {
  /** What weights are stored as; default F32. */
  readonly dtype?: 'F32' | 'F16' | 'BF16';
  /** The most bytes in one file; above them the tensors lie in shards with an index. Default: one file. */
  readonly maxShardBytes?: number;
  /** Told before each tensor is written. */
  readonly onProgress?: (progress: SaveProgress) => void;
}

/** How far writing has come. */
export interface SaveProgress {
  readonly tensors: number;
  readonly totalTensors: number;
  /** Of tensors written so far. */
  readonly bytes: number;
  readonly totalBytes: number;
}

/** What a checkpoint folder holds besides its tensors' values. */
export interface CheckpointPlan {
  /** Paths of ours, each with the pieces that make it up. */
  readonly tensors: ReadonlyMap<string, readonly TensorPiece[]>;
  /** `config.json`, given the dtype of the weights. */
  toJson(dtype: string): object;
}

/** What a `config.json` calls the types of weights. */
export const dtypeNames = { F32: 'float32', F16: 'float16', BF16: 'bfloat16' } as const;
const bytesOf = { F32: 4, F16: 2, BF16: 2 } as const;

/**
 * Writes `config.json` and `model.safetensors`: in Hugging Face's layout, readable by transformers 5, where Mistral,
 * Mixtral or Qwen2-MoE is the same model; otherwise in our own, with `model_type` `therapeutic_moe`. Buffers stay float32.
 * Tensors come from the device one by one, so that memory holds one at a time.
 *
 * @throws when the weights are frozen, or an adapter is attached (save it as an adapter, or merge it for good).
 */
export async function saveModelDirectory(
  model: CausalLm,
  directory: string,
  options: SaveModelOptions = {},
): Promise<void> {
  await writeModel(model, directory, checkpointPlan(model.config), options);
}

/** Hugging Face's layout where one of its families is the same model, otherwise our own. */
export function checkpointPlan(config: ModelConfig): CheckpointPlan {
  const form = huggingFaceForm(config);
  const same = 'family' in form && form.changes.length === 0;
  return same ? huggingFacePlan(form) : ownPlan(config);
}

/**
 * Writes a model in Hugging Face's layout, also where that takes parts of zeros that its family always has.
 *
 * @returns the form that was written: its family, and what was changed.
 * @throws when no family says what the config says, naming the fields; or when an adapter is attached.
 */
export async function saveHuggingFace(
  model: CausalLm,
  directory: string,
  options: SaveModelOptions = {},
): Promise<HuggingFaceForm> {
  const form = requireHuggingFaceForm(model.config);
  await writeModel(model, directory, huggingFacePlan(form), options);
  return form;
}

function huggingFacePlan(form: HuggingFaceForm): CheckpointPlan {
  return { tensors: tensorMap(form.config), toJson: (dtype) => formToHuggingFace(form, dtype) };
}

function ownPlan(config: ModelConfig): CheckpointPlan {
  return { tensors: ownTensorMap(config), toJson: (dtype) => configToOwn(config, dtype) };
}

async function writeModel(
  model: CausalLm,
  directory: string,
  plan: CheckpointPlan,
  options: SaveModelOptions,
): Promise<void> {
  if (model.frozenWeights.size > 0) {
    throw new Error(
      'saveModelDirectory: the weights of this model are frozen in fewer bytes and rounded; copy the folder that they came from, or load it with float32 weights.',
    );
  }
  refuseAdapters(
    model,
    (path) =>
      `saveModelDirectory: ${path} carries an adapter; save it with saveAdapter, or take it off with mergeLora or detachLora first.`,
  );
  const { dtype = 'F32' } = options;
  await writeCheckpoint(directory, plan, pendingArrays(model, plan, dtype), { ...options, dtype });
}

/** Writes tensors by a plan. `config.json` comes last: a folder without it is not taken for a whole model. */
export async function writeCheckpoint(
  directory: string,
  plan: CheckpointPlan,
  tensors: PendingArray[],
  {
    dtype,
    maxShardBytes = Number.POSITIVE_INFINITY,
    onProgress,
  }: SaveModelOptions & { dtype: keyof typeof dtypeNames },
): Promise<void> {
  await mkdir(directory, { recursive: true });
  const arrays = withProgress(tensors, onProgress);
  const metadata = { format: 'pt' };
  const whole = join(directory, 'model.safetensors');
  if (bytesIn(arrays) <= maxShardBytes) await writeSafetensors(whole, arrays, metadata);
  else {
    await writeShardedSafetensors(directory, arrays, { maxShardBytes, metadata });
    await rm(whole, { force: true }); // readers would take it before the shards
  }
  const config = plan.toJson(dtypeNames[dtype]);
  await writeFileAtomic(join(directory, 'config.json'), `${JSON.stringify(config, null, 2)}\n`);
}

function pendingArrays(model: CausalLm, { tensors }: CheckpointPlan, dtype: 'F32' | 'F16' | 'BF16'): PendingArray[] {
  const buffers = model.buffers();
  const variables = new Map([...model.parameters(), ...buffers]);
  const lost = [...variables.keys()].find((path) => !tensors.has(path));
  if (lost) throw new Error(`saveModelDirectory: there is no place for ${lost} in this layout.`);
  const own = ownTensorMap(model.config);
  return [...tensors].flatMap(([path, pieces]) => {
    const variable = variables.get(path);
    if (!variable && own.has(path)) throw new Error(`saveModelDirectory: ${path} is no variable of this model.`);
    return pieces.map((piece) => ({
      ...{ name: piece.name, shape: piece.shape, dtype: buffers.has(path) ? 'F32' : dtype },
      read: () => valuesOf(variable, piece),
    }));
  });
}

/** What a model does not have but its form does is zeros. */
async function valuesOf(variable: tf.Tensor | undefined, piece: TensorPiece): Promise<Float32Array> {
  return variable ? pieceValues(variable, piece) : new Float32Array(sizeOf(piece));
}

function withProgress(arrays: PendingArray[], onProgress?: (progress: SaveProgress) => void): PendingArray[] {
  const [totalTensors, totalBytes] = [arrays.length, bytesIn(arrays)];
  let [tensors, bytes] = [0, 0];
  return arrays.map((array) => ({
    ...array,
    read: async () => {
      onProgress?.({ tensors, totalTensors, bytes, totalBytes });
      tensors += 1;
      bytes += bytesIn([array]);
      return array.read();
    },
  }));
}

function bytesIn(arrays: readonly PendingArray[]): number {
  return arrays.reduce((sum, array) => sum + sizeOf(array) * bytesOf[array.dtype as keyof typeof bytesOf], 0);
}

function sizeOf({ shape }: { readonly shape: readonly number[] }): number {
  return shape.reduce((product, d) => product * d, 1);
}
