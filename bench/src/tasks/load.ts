import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type BackendName, useBackend } from '@therapeutic-moe/backend';
import { type NamedArray, writeSafetensors } from '@therapeutic-moe/checkpoint';
import { type CausalLm, configToHuggingFace, loadModelDirectory, type ModelConfig } from '@therapeutic-moe/model';
import type { Timing } from '../comparison.js';
import type { LoadInput } from '../load.js';
import { measure } from '../measure.js';
import { peakMemory } from '../peak-memory.js';
import { throughDevice } from './through-device.js';

/** Writes a Mistral of random weights. */
export async function writeCheckpoint({ model, dtype, directory }: LoadInput & { directory: string }): Promise<void> {
  const shapes = tensorShapes(model);
  const largest = Math.max(...shapes.map(([, shape]) => sizeOf(shape)));
  const values = Float32Array.from({ length: largest }, () => Math.random() - 0.5);
  const tensors: NamedArray[] = shapes.map(([name, shape]) => ({
    name,
    shape,
    dtype,
    data: values.subarray(0, sizeOf(shape)),
  }));
  await writeSafetensors(join(directory, 'model.safetensors'), tensors, { format: 'pt' });
  await writeFile(join(directory, 'config.json'), JSON.stringify(configToHuggingFace(model, dtype)));
}

/** Time and memory of a load, weights included; a load before the timed ones is in the detail. */
export async function loadOurs(input: {
  readonly directory: string;
  readonly backend: BackendName;
  readonly repeats: number;
}): Promise<Timing> {
  const { kernels } = await useBackend(input.backend);
  const load = async () => {
    const model = await loadModelDirectory(input.directory);
    await throughDevice(lastOf(model));
    model.dispose();
  };
  const start = performance.now();
  const peakMiB = await peakMemory(load);
  const first = performance.now() - start;
  const times = await measure(load, { repeats: input.repeats, warmUp: 0 });
  const detail = `kernels ${kernels}, first in its process ${first.toFixed(0)} ms`;
  return { ...times, ...(peakMiB !== undefined && { peakMiB }), detail };
}

function lastOf(model: CausalLm) {
  return [...model.parameters().values()].at(-1)!;
}

function tensorShapes(model: ModelConfig): [name: string, shape: number[]][] {
  const { hiddenSize: hidden, intermediateSize: inner, vocabSize: vocab } = model;
  const [queries, keys] = [model.numAttentionHeads, model.numKeyValueHeads].map((heads) => heads * model.headDim);
  const layer = {
    'input_layernorm.weight': [hidden],
    'self_attn.q_proj.weight': [queries, hidden],
    'self_attn.k_proj.weight': [keys, hidden],
    'self_attn.v_proj.weight': [keys, hidden],
    'self_attn.o_proj.weight': [hidden, queries],
    'post_attention_layernorm.weight': [hidden],
    'mlp.gate_proj.weight': [inner, hidden],
    'mlp.up_proj.weight': [inner, hidden],
    'mlp.down_proj.weight': [hidden, inner],
  };
  const layers = Array.from({ length: model.numHiddenLayers }, (_, i) =>
    Object.entries(layer).map(([name, shape]): [string, number[]] => [`model.layers.${i}.${name}`, shape]),
  );
  return [
    ['model.embed_tokens.weight', [vocab, hidden]],
    ...layers.flat(),
    ['model.norm.weight', [hidden]],
    ['lm_head.weight', [vocab, hidden]],
  ];
}

function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}
