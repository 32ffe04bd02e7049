import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type BackendChoice, type Logger, useBackend } from '@therapeutic-moe/backend';
import { openCheckpoint, writeFileAtomic } from '@therapeutic-moe/checkpoint';
import { type MergeDrift, mergeDrift } from '@therapeutic-moe/lora';
import {
  type CausalLm,
  type HuggingFaceForm,
  loadAdapter,
  loadModelDirectory,
  mergeLora,
  readModelConfig,
  requireHuggingFaceForm,
  type SaveModelOptions,
  type SaveProgress,
  saveHuggingFace,
} from '@therapeutic-moe/model';
import { fillFolder } from './fill-folder.js';
import { findAdapter } from './find-adapter.js';
import { requireAdapter } from './require-adapter.js';
import { copyGenerationConfig, copyTokenizer } from './tokenizer-files.js';

type StoredDtype = NonNullable<SaveModelOptions['dtype']>;

/** What `export --format hf` is told. */
export interface ExportModelOptions {
  /** A checkpoint folder in any layout. */
  readonly model: string;
  /** A folder with a PEFT adapter, which is merged in float32 before anything is rounded. */
  readonly adapter?: string;
  /** A new or empty folder. */
  readonly output: string;
  /** Default as the model is stored; float32 where that is in 8 bits. */
  readonly dtype?: SaveModelOptions['dtype'];
  readonly maxShardBytes: number;
  readonly backend: BackendChoice;
  readonly logger: Logger;
}

/** What was written. */
export interface ExportedModel extends Pick<HuggingFaceForm, 'family' | 'changes'> {
  readonly dtype: StoredDtype;
  /** How many weight files, and their bytes. */
  readonly files: number;
  readonly bytes: number;
  /** Whether the model had a tokenizer to go along. */
  readonly tokenizer: boolean;
  /** How far each weight as written lies from base and adapter, where one was merged. */
  readonly drift: readonly MergeDrift[];
}

/**
 * Writes a model as a folder that transformers reads: weights, config, tokenizer with its chat template, and how it likes
 * to be sampled.
 *
 * @throws when the output holds other files, or no family of Hugging Face's says what the model is; nothing is left then.
 */
export async function exportModel(options: ExportModelOptions): Promise<ExportedModel> {
  const { model: source, output } = options;
  const config = await readModelConfig(source); // all checks before a backend starts and weights are read
  requireHuggingFaceForm(config);
  const adapter = options.adapter === undefined ? undefined : await peftFolder(options.adapter);
  if (adapter !== undefined) await requireAdapter(adapter, config);
  const stored = await storedAs(source);
  const { dtype = stored.dtype } = options;
  return fillFolder(output, async () => {
    const { form, drift } = await writeWeights({ ...options, dtype, ...(adapter !== undefined && { adapter }) });
    const tokenizer = await copyTokenizer(source, output);
    if (!(await copyGenerationConfig(source, output))) await writeGenerationConfig(form, output);
    return {
      ...{ family: form.family, dtype, drift, tokenizer: tokenizer.includes('tokenizer.json') },
      changes: [...form.changes, ...(stored.int8 ? [changeFromInt8] : [])],
      ...(await weightFiles(output)),
    };
  });
}

const changeFromInt8 = 'weights that were stored in 8 bits are floats now, and quantization_config is left out';

/** What the floats of a checkpoint are stored as, read from its headers. A type that is not written is left to loading. */
async function storedAs(directory: string): Promise<{ dtype: StoredDtype; int8: boolean }> {
  const reader = await openCheckpoint(directory);
  try {
    const int8 = reader.names.some((name) => reader.entry(name).dtype === 'I8');
    const norm = reader.names.find((name) => name === 'model.norm.weight');
    const found = norm !== undefined && reader.entry(norm).dtype;
    return { dtype: int8 || (found !== 'F16' && found !== 'BF16') ? 'F32' : found, int8 };
  } finally {
    await reader.close();
  }
}

async function writeWeights({
  backend,
  logger,
  output,
  ...options
}: ExportModelOptions & { dtype: StoredDtype }): Promise<{ form: HuggingFaceForm; drift: MergeDrift[] }> {
  const { dtype, maxShardBytes } = options;
  await useBackend(backend, { logger });
  const model = await loadModelDirectory(options.model);
  try {
    const drift = options.adapter ? await mergeAdapter(model, options.adapter, dtype) : [];
    const form = await saveHuggingFace(model, output, { dtype, maxShardBytes, onProgress: progressLines(logger) });
    return { form, drift };
  } finally {
    model.dispose();
  }
}

/** What transformers makes of `config.json` where a model says nothing about sampling. */
async function writeGenerationConfig({ config }: HuggingFaceForm, output: string): Promise<void> {
  const tokens = { bos_token_id: config.bosTokenId, eos_token_id: config.eosTokenId };
  const json = JSON.stringify({ _from_model_config: true, ...tokens }, null, 2);
  await writeFileAtomic(join(output, 'generation_config.json'), `${json}\n`);
}

/** Where the PEFT files of an adapter lie. @throws when a training run has not written any yet. */
async function peftFolder(directory: string): Promise<string> {
  const found = await findAdapter(directory);
  if (found.kind === 'peft') return found.folder;
  throw new Error(
    `${found.folder} is a checkpoint of a training run; write its adapter with export --format peft first, then merge that.`,
  );
}

async function mergeAdapter(model: CausalLm, folder: string, dtype: StoredDtype): Promise<MergeDrift[]> {
  const adapter = await loadAdapter(model, folder);
  const drift = await mergeDrift(adapter, dtype);
  mergeLora(model, adapter);
  return drift;
}

const SECONDS_BETWEEN_LINES = 5;

function progressLines({ info }: Logger): (progress: SaveProgress) => void {
  let next = Date.now() + SECONDS_BETWEEN_LINES * 1000;
  return ({ tensors, totalTensors, bytes, totalBytes }) => {
    if (Date.now() < next) return;
    next = Date.now() + SECONDS_BETWEEN_LINES * 1000;
    info(`export: ${tensors} of ${totalTensors} tensors, ${gigabytes(bytes)} of ${gigabytes(totalBytes)} GB`);
  };
}

function gigabytes(bytes: number): string {
  return (bytes / 1e9).toFixed(1);
}

async function weightFiles(directory: string): Promise<{ files: number; bytes: number }> {
  const names = (await readdir(directory)).filter((name) => name.endsWith('.safetensors'));
  const sizes = await Promise.all(names.map(async (name) => (await stat(join(directory, name))).size));
  return { files: names.length, bytes: sizes.reduce((a, b) => a + b, 0) };
}
