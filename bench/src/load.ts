import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { countParameters, type ModelConfig, resolveConfig } from '@therapeutic-moe/model';
import type { Comparison, Lab, Timing } from './comparison.js';

/** A checkpoint to write. */
export interface LoadInput {
  readonly model: ModelConfig;
  /** How its tensors are stored. */
  readonly dtype: 'BF16' | 'F32';
}

/** Some 500 MB each: a Mistral of few layers. */
const inputs: readonly LoadInput[] = [
  { model: mistral(4), dtype: 'BF16' },
  { model: mistral(2), dtype: 'F32' },
];

function mistral(numHiddenLayers: number): ModelConfig {
  return resolveConfig({
    vocabSize: 8192,
    hiddenSize: 2048,
    intermediateSize: 7168,
    numHiddenLayers,
    numAttentionHeads: 16,
    numKeyValueHeads: 4,
    headDim: 128,
    maxPositionEmbeddings: 2048,
  });
}

function bytesOf({ model, dtype }: LoadInput): number {
  return countParameters(model).total * (dtype === 'F32' ? 4 : 2);
}

/** safetensors to float32 weights on the device, the file in the page cache. */
export const load: Comparison = {
  name: 'load',
  about: 'safetensors to float32 weights on the device, GB/s of the file and memory, against safetensors + torch',
  async cases(lab) {
    const backends = await lab.backends();
    return inputs.flatMap((input) =>
      backends.map((backend) => ({
        case: `${(bytesOf(input) / 1e6).toFixed(0)} MB of ${input.dtype} on ${backend}`,
        backend,
        ours: () =>
          measureOn(lab, input, (directory) => lab.node('load', { directory, backend, repeats: lab.repeats })),
        peers: [
          {
            name: 'torch',
            measure: () =>
              measureOn(lab, input, (directory) => lab.python('load', { directory, backend, repeats: lab.repeats })),
          },
        ],
      })),
    );
  },
};

/** Measures on a checkpoint that was just written, and is gone afterwards. */
async function measureOn(lab: Lab, input: LoadInput, measure: (directory: string) => Promise<Timing>): Promise<Timing> {
  const directory = await mkdtemp(join(tmpdir(), 'bench-load-'));
  try {
    await lab.node('write-checkpoint', { ...input, directory });
    const timing = await measure(directory);
    return { ...timing, gigabytesPerSecond: bytesOf(input) / 1e6 / timing.medianMs };
  } finally {
    await rm(directory, { recursive: true });
  }
}
