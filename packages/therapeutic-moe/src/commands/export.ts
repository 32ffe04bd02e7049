import { join } from 'node:path';
import type { BackendChoice } from '@therapeutic-moe/backend';
import { exportAdapter, exportTrainedAdapter, type MergeDrift } from '@therapeutic-moe/lora';
import { defineCommand } from 'citty';
import { type ExportedModel, exportModel } from '../export-model.js';
import { fillFolder } from '../fill-folder.js';
import { findAdapter } from '../find-adapter.js';
import { dtypeName, readDtype, type StoredDtype } from './dtypes.js';
import { errorLogger, modelOptions } from './model-options.js';
import { readBytes } from './numbers.js';

/** Options that one format alone has. */
const options = { hf: ['model', 'max-shard-size', 'backend'], peft: ['base-name'] } as const;

/** Writes what other libraries read: a model for transformers, or an adapter for PEFT. */
export const exportCommand = defineCommand({
  meta: { name: 'export', description: "Write a model in Hugging Face's layout (hf) or an adapter in PEFT's (peft)." },
  args: {
    format: { type: 'string', required: true, description: 'hf or peft' },
    output: { type: 'string', required: true, description: 'a new or an empty folder', valueHint: 'DIR' },
    model: { type: 'string', description: 'hf: checkpoint folder', valueHint: 'DIR' },
    adapter: {
      type: 'string',
      description: 'PEFT folder or output of a LoRA run; hf merges it in, peft writes it',
      valueHint: 'DIR',
    },
    dtype: {
      type: 'string',
      description: 'float32, float16 or bfloat16; default hf: as the model is stored, peft: float32',
    },
    'max-shard-size': { type: 'string', description: 'hf: most bytes of a weight file; default 5GB' },
    'base-name': { type: 'string', description: 'peft: base_model_name_or_path; default what the adapter says' },
    backend: { type: 'string', description: `hf: ${modelOptions.backend.description}; default auto` },
  },
  async run({ args }) {
    const { format } = args;
    if (format !== 'hf' && format !== 'peft') throw new Error(`--format must be hf or peft, got '${format}'.`);
    const [other, foreign] = format === 'hf' ? (['peft', options.peft] as const) : (['hf', options.hf] as const);
    const stray = foreign.find((name) => args[name] !== undefined);
    if (stray) throw new Error(`--${stray} belongs to --format ${other}; leave it out.`);
    const dtype = args.dtype === undefined ? undefined : readDtype(args.dtype);
    if (format === 'peft') await runPeft(args, dtype);
    else await runHuggingFace(args, dtype);
  },
});

interface Args {
  readonly output: string;
  readonly model?: string;
  readonly adapter?: string;
  readonly 'max-shard-size'?: string;
  readonly 'base-name'?: string;
  readonly backend?: string;
}

async function runHuggingFace(
  { model, adapter, output, backend = 'auto', ...rest }: Args,
  dtype: StoredDtype | undefined,
) {
  if (model === undefined) throw new Error('name the checkpoint folder with --model DIR.');
  const written = await exportModel({
    ...{ model, adapter, output, dtype, logger: errorLogger },
    maxShardBytes: readBytes('max-shard-size', rest['max-shard-size'] ?? '5GB'),
    backend: backend as BackendChoice,
  });
  console.log(describe(written, output).join('\n'));
}

const names = { mistral: 'Mistral', mixtral: 'Mixtral', qwen2_moe: 'Qwen2-MoE' } as const;

function describe({ family, dtype, changes, files, bytes, drift, tokenizer }: ExportedModel, output: string): string[] {
  const weights = `${bytes.toLocaleString('en')} bytes in ${files} weight file${files === 1 ? '' : 's'}`;
  return [
    `${output}: ${names[family]}, ${dtypeName(dtype)}, ${weights}`,
    ...describeDrift(drift),
    ...changes.map((change) => `changed: ${change}`),
    ...(tokenizer ? [] : ['no tokenizer.json lies beside the model; put one there before you serve it.']),
  ];
}

/** The weight that lost most of what the adapter changes. */
function describeDrift(drift: readonly MergeDrift[]): string[] {
  const [worst] = [...drift].sort((a, b) => b.ofChange - a.ofChange);
  if (!worst) return [];
  const { path, max, relative, ofChange } = worst;
  const [largest, ofWeight, ofAdapter] = [max, relative, ofChange].map((value) => value.toExponential(1));
  return [
    `merged ${drift.length} weights; rounding moved ${path} most: by ${ofWeight} of the weight (at most ${largest}), ${ofAdapter} of what the adapter changes`,
  ];
}

async function runPeft({ adapter, output, 'base-name': baseName }: Args, dtype: StoredDtype = 'F32'): Promise<void> {
  if (adapter === undefined) throw new Error("name the adapter's folder with --adapter DIR.");
  const found = await findAdapter(adapter);
  const { r, loraAlpha } = await fillFolder(output, () => {
    const baseModel = baseName ?? (found.kind === 'checkpoint' ? found.base : undefined);
    const how = { dtype, ...(baseModel !== undefined && { baseModel }) };
    if (found.kind === 'peft') return exportAdapter(found.folder, output, how);
    return exportTrainedAdapter(join(found.folder, 'parameters.safetensors'), found.lora, output, how);
  });
  console.log(`${output}: the adapter of ${found.folder}, r ${r}, alpha ${loraAlpha}, ${dtypeName(dtype)}`);
}
