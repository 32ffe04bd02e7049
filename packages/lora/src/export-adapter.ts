import { join } from 'node:path';
import { type CheckpointReader, openCheckpoint, type PendingArray } from '@therapeutic-moe/checkpoint';
import { startsFromBase } from './base-start.js';
import { peftName } from './file-factors.js';
import { type LoraConfig, resolveLoraConfig } from './lora-config.js';
import { readAdapterConfig, readBaseModel, writePeftFiles } from './peft-files.js';

/** How an adapter is written. */
export interface ExportAdapterOptions {
  /** What PEFT records as `base_model_name_or_path`. Absent: what the source says, else nothing. */
  readonly baseModel?: string;
  /** What factors are stored as; default F32, as PEFT has it. */
  readonly dtype?: 'F32' | 'F16' | 'BF16';
}

/**
 * Writes an adapter folder again, as PEFT 0.21 writes it. No model and no backend are needed.
 *
 * @param source a PEFT folder. @param directory where to; created if need be.
 * @returns the adapter's settings.
 * @throws when the folder asks for something that is not implemented, or holds a tensor that is no factor of LoRA.
 */
export async function exportAdapter(
  source: string,
  directory: string,
  options: ExportAdapterOptions = {},
): Promise<LoraConfig> {
  const config = await readAdapterConfig(source);
  const baseModel = options.baseModel ?? (await readBaseModel(source));
  const file = join(source, 'adapter_model.safetensors');
  await rewrite(file, directory, config, { ...options, baseModel }, (reader) =>
    reader.names.map((name) => ({
      name: knownName(name, source),
      shape: reader.entry(name).shape,
      read: () => reader.read(name),
    })),
  );
  return config;
}

/**
 * Writes the factors that a training checkpoint holds as a PEFT folder.
 *
 * @param file a safetensors file with `{path}.lora_A` `[in, r]`, `{path}.lora_B` `[r, out]` and so on.
 * @param settings of the run's adapter.
 * @throws when the file holds something else too.
 */
export async function exportTrainedAdapter(
  file: string,
  settings: Partial<LoraConfig>,
  directory: string,
  options: ExportAdapterOptions = {},
): Promise<LoraConfig> {
  const config = resolveLoraConfig(settings);
  if (config.targetParameters.length > 0) {
    throw new Error(
      `${file}: the run's targetParameters are stacks of experts, whose names in PEFT's files follow from the model; take the adapter folder that the run saves at its end.`,
    );
  }
  if (startsFromBase(config)) {
    throw new Error(
      `${file}: the run's initLoraWeights '${config.initLoraWeights}' took over a part of the base, which its checkpoint does not hold; take the adapter folder that the run saves at its end, or resume it with no steps left.`,
    );
  }
  await rewrite(file, directory, config, options, (reader) =>
    reader.names.map((path) => {
      const { shape } = reader.entry(path);
      const name = knownName(peftName(path), file);
      return { name, shape: [...shape].reverse(), read: async () => turned(await reader.read(path), shape) };
    }),
  );
  return config;
}

async function rewrite(
  file: string,
  directory: string,
  config: LoraConfig,
  { baseModel, dtype = 'F32' }: ExportAdapterOptions,
  factorsOf: (reader: CheckpointReader) => Omit<PendingArray, 'dtype'>[],
): Promise<void> {
  const reader = await openCheckpoint(file);
  try {
    const tensors = factorsOf(reader).map((factor) => ({ ...factor, dtype }));
    await writePeftFiles(directory, config, tensors, baseModel);
  } finally {
    await reader.close();
  }
}

const factorName = /^base_model\.model\..+\.(?:lora_[AB]\.weight|lora_magnitude_vector)$/;

function knownName(name: string, where: string): string {
  if (factorName.test(name)) return name;
  throw new Error(
    `${where}: ${name} is no factor of LoRA on a linear; only lora_A, lora_B and lora_magnitude_vector are.`,
  );
}

/** A matrix by columns; a vector stays. */
function turned(values: Float32Array, [rows, columns = 1]: readonly number[]): Float32Array {
  const result = new Float32Array(values.length);
  for (let i = 0; i < rows!; i++) for (let j = 0; j < columns; j++) result[j * rows! + i] = values[i * columns + j]!;
  return result;
}
