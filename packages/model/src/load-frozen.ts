import * as tf from '@tensorflow/tfjs-core';
import type { CheckpointReader } from '@therapeutic-moe/checkpoint';
import type { FrozenDtype, FrozenMatrix } from '@therapeutic-moe/kernels';
import { FrozenSink } from './frozen-sink.js';
import type { Int8Weights } from './hugging-face/quantization.js';
import type { TensorPiece } from './hugging-face/tensor-map.js';
import { LoadPlan } from './load-parameters.js';
import type { ModelConfig } from './model-config.js';
import { frozenShapes } from './parameter-shapes.js';

/**
 * Streams all weights of a model that can be held in fewer bytes to the device. What the file holds in that type is not
 * touched; int8 of a float file takes a scale for each output.
 *
 * @param map parameter paths, each with the pieces that make it up; of others than those weights nothing is read.
 * @returns them by path; the caller disposes them.
 */
export async function loadFrozen(
  config: ModelConfig,
  dtype: FrozenDtype,
  reader: CheckpointReader,
  map: ReadonlyMap<string, readonly TensorPiece[]>,
  int8?: Int8Weights,
): Promise<Map<string, FrozenMatrix>> {
  const sinks = new Map([...frozenShapes(config)].map(([path, shape]) => [path, new FrozenSink(shape, dtype)]));
  const plan = new LoadPlan(reader, new Map([...map].filter(([path]) => sinks.has(path))));
  const taken = new Map<string, FrozenMatrix>();
  try {
    await plan.run(plan.buffers(), (path) => sinks.get(path)!, int8);
    for (const [path, sink] of sinks) taken.set(path, sink.take());
    return taken;
  } catch (thrown) {
    for (const sink of sinks.values()) sink.dispose();
    tf.dispose([...taken.values()].map(({ packed, scales }) => [packed, scales ?? []]));
    throw thrown;
  }
}
