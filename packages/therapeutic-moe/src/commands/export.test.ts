import { readFileSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type NamedArray, openCheckpoint, writeSafetensors } from '@therapeutic-moe/checkpoint';
import { modelDirectory } from '@therapeutic-moe/embedded-model';
import { attachLora, resolveLoraConfig, saveAdapter } from '@therapeutic-moe/lora';
import { CausalLm, loadModelDirectory, presets, resolveConfig, saveModelDirectory } from '@therapeutic-moe/model';
import { saveTrainCheckpoint, type TrainState } from '@therapeutic-moe/trainer';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { writeStored } from '../../../model/test/write-stored.js';
import { loadModel } from '../load-model.js';
import { runCommandLine } from '../run-command-line.js';

const fixture = (name: string) => fileURLToPath(new URL(`../../../model/test/fixtures/${name}/`, import.meta.url));
const mixtral = fixture('mixtral-4x-top2');
const expected = JSON.parse(readFileSync(`${mixtral}expected.json`, 'utf8'));
/** What the fixtures promise of a float32 implementation. */
const LOGITS = 1e-4;

let folder: string;
let output: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'export-'));
  output = join(folder, 'out');
});
afterEach(async () => {
  vi.restoreAllMocks();
  await rm(folder, { recursive: true });
});

/** Runs the command line; returns its exit code and what it printed. */
async function run(...words: string[]): Promise<{ code: number; out: string; err: string }> {
  vi.restoreAllMocks();
  const out = vi.spyOn(console, 'log').mockImplementation(() => {});
  const err = vi.spyOn(console, 'error').mockImplementation(() => {});
  const code = await runCommandLine(words);
  const said = (spy: typeof out) => spy.mock.calls.map((call) => call.join(' ')).join('\n');
  return { code, out: said(out), err: said(err) };
}

const exportTo = (...words: string[]) => run('export', '--output', output, ...words);
const hf = (model: string, ...words: string[]) =>
  exportTo('--format', 'hf', '--model', model, '--backend', 'wasm', ...words);
const peft = (adapter: string, ...words: string[]) => exportTo('--format', 'peft', '--adapter', adapter, ...words);
const json = async (...path: string[]) => JSON.parse(await readFile(join(output, ...path), 'utf8'));

describe('export --format hf', () => {
  it('merges an adapter into the base, whose logits are then those of both', async () => {
    const { code, out } = await hf(mixtral, '--adapter', `${mixtral}adapter`);
    expect([code, out.split('\n')[0]]).toEqual([0, expect.stringContaining(`${output}: Mixtral, float32, `)]);
    expect(out).toContain('no tokenizer.json lies beside the model');
    expect(out).toMatch(
      /merged 8 weights; rounding moved model\.layers\.\d\.self_attn\.\w+ most: by \d\.\de-[89] of the weight/,
    );
    const printed = await run('logits', '--model', output, '--ids', expected.ids.join(), '--backend', 'wasm', '--json');
    const { logits, allArgmax } = JSON.parse(printed.out);
    expect(allArgmax).toEqual(expected.adapter.all_argmax);
    const worst = Math.max(...logits.map((x: number, i: number) => Math.abs(x - expected.adapter.logits[i])));
    expect(worst).toBeLessThan(LOGITS);
  });

  it('takes tokenizer, chat template and sampling along, and cuts into shards that hold the same bits', async () => {
    const { code, out } = await hf(modelDirectory, '--max-shard-size', '12 MB', '--dtype', 'float32');
    expect([code, out]).toEqual([0, expect.stringMatching(/: Mixtral, float32, [\d,]+ bytes in 3 weight files$/)]);
    for (const name of ['tokenizer.json', 'tokenizer_config.json', 'generation_config.json'])
      expect(await readFile(join(output, name))).toEqual(await readFile(join(modelDirectory, name)));
    const [source, copy] = [await openCheckpoint(modelDirectory), await openCheckpoint(output)];
    expect(copy.names).toEqual(source.names);
    for (const name of [source.names[0]!, source.names.at(-1)!])
      expect(await copy.read(name)).toEqual(await source.read(name));
    await Promise.all([source.close(), copy.close()]);
    const model = await loadModel(output, { backend: 'wasm' });
    expect(Object.keys(await model.routing('Rest helps.'))).toContain('mental_health');
    model.dispose();
  });

  it('refuses what no family says by field, before a backend starts, and leaves nothing', async () => {
    const tiny = { hiddenSize: 8, numHiddenLayers: 1, headDim: 4, vocabSize: 13, intermediateSize: 8 };
    const model = CausalLm.create(presets['multi-level'](tiny), 1);
    const source = join(folder, 'own');
    await saveModelDirectory(model, source);
    model.dispose();
    const { code, err } = await exportTo('--format', 'hf', '--model', source, '--backend', 'none such');
    expect(code).toBe(1);
    expect(err).toContain(
      "attention.kind 'multi-level', mixture.router 'two-stage', mixture.experts 'shared-projection'",
    );
    expect(err).toContain("no counterpart in Hugging Face's Mistral, Mixtral or Qwen2-MoE; save it in our own layout");
    expect(await readdir(folder)).toEqual(['own']);
  });

  it('refuses an adapter that is none or of another base before a backend starts', async () => {
    const hfWith = (adapter: string) =>
      exportTo('--format', 'hf', '--model', mixtral, '--backend', 'none such', '--adapter', adapter);
    expect((await hfWith(join(folder, 'mistyped'))).err).toContain('mistyped holds no adapter');
    const other = join(folder, 'other');
    await cp(join(mixtral, 'adapter'), other, { recursive: true });
    const config = JSON.parse(await readFile(join(other, 'adapter_config.json'), 'utf8'));
    await writeFile(join(other, 'adapter_config.json'), JSON.stringify({ ...config, r: config.r + 1 }));
    expect((await hfWith(other)).err).toMatch(
      /other: the adapter holds \d+ numbers, .* was it made for another base\?/,
    );
    expect(await readdir(folder)).toEqual(['other']);
  });

  it('writes into no folder with other files, and into a fresh clone', async () => {
    await mkdir(output);
    await writeFile(join(output, '.gitattributes'), '');
    await writeFile(join(output, 'README.md'), '# A model');
    expect((await hf(mixtral, '--dtype', 'bfloat16')).code).toBe(0);
    const before = await readFile(join(output, 'model.safetensors'));
    const { code, err } = await hf(mixtral);
    expect([code, err]).toEqual([1, expect.stringContaining(`${output} is not empty: it holds config.json, `)]);
    expect((await readFile(join(output, 'model.safetensors'))).equals(before)).toBe(true);
    const file = await run('export', '--format', 'hf', '--model', mixtral, '--output', join(output, 'README.md'));
    expect(file.err).toContain('README.md is a file; name a folder.');
  });

  it('removes what it wrote when writing fails, and nothing else', async () => {
    const source = join(folder, 'large');
    await cp(mixtral, source, { recursive: true });
    await change(join(source, 'model.safetensors'), (data) => data.fill(7e4, 0, 1));
    await mkdir(output);
    await writeFile(join(output, '.gitattributes'), '');
    const { code, err } = await hf(source, '--dtype', 'float16');
    expect([code, err]).toEqual([1, expect.stringContaining('expected values within ±65504 for F16, got 70000')]);
    expect(await readdir(output)).toEqual(['.gitattributes']);
  });

  it('stores as the model is stored, unless it is told or that is 8 bits, which it says', async () => {
    const source = join(folder, 'stored');
    const model = await loadModelDirectory(mixtral);
    await saveModelDirectory(model, source, { dtype: 'BF16' });
    model.dispose();
    expect((await hf(source)).out).toContain(': Mixtral, bfloat16, ');
    expect((await json('config.json')).dtype).toBe('bfloat16');
    await rm(output, { recursive: true });
    expect((await hf(source, '--dtype', 'float16')).out).toContain(': Mixtral, float16, ');
    await rm(output, { recursive: true });
    await storeInt8(source, 'model.layers.0.self_attn.q_proj');
    const { out } = await hf(source);
    expect(out).toContain(': Mixtral, float32, ');
    expect(out).toContain('changed: weights that were stored in 8 bits are floats now');
    expect(await json('config.json')).not.toHaveProperty('quantization_config');
  });

  it('writes every token that ends a text', async () => {
    const source = join(folder, 'several-ends');
    await cp(mixtral, source, { recursive: true });
    const config = JSON.parse(await readFile(join(source, 'config.json'), 'utf8'));
    await writeFile(join(source, 'config.json'), JSON.stringify({ ...config, eos_token_id: [2, 5] }));
    await rm(join(source, 'generation_config.json'), { force: true });
    await hf(source);
    expect(await json('config.json')).toMatchObject({ eos_token_id: [2, 5] });
    expect(await json('generation_config.json')).toMatchObject({ eos_token_id: [2, 5] });
  });

  it('says that a shared expert of zeros was added where Qwen2-MoE needs one', async () => {
    const config = resolveConfig({
      ...{ vocabSize: 13, hiddenSize: 5, intermediateSize: 7, numHiddenLayers: 2, numAttentionHeads: 1, headDim: 6 },
      mixture: { numExperts: 3, numExpertsPerTok: 2, softmaxOrder: 'before-top-k', normTopkProb: true, layers: [1] },
    });
    const model = CausalLm.create(config, 1);
    await saveModelDirectory(model, join(folder, 'mixed'));
    model.dispose();
    const { out } = await hf(join(folder, 'mixed'));
    expect(out).toContain('Qwen2-MoE, float32');
    expect(out).toContain('changed: a shared expert of width 1 is added, since Qwen2-MoE always has one;');
    expect(await json('generation_config.json')).toEqual({ _from_model_config: true });
    expect(await json('config.json')).toMatchObject({
      ...{ model_type: 'qwen2_moe', mlp_only_layers: [0], decoder_sparse_step: 1, qkv_bias: false },
      ...{ moe_intermediate_size: 7, shared_expert_intermediate_size: 1, norm_topk_prob: true },
    });
  });
});

/** Stores one linear of a checkpoint as bitsandbytes does in 8 bits. */
async function storeInt8(directory: string, linear: string): Promise<void> {
  const file = join(directory, 'model.safetensors');
  const reader = await openCheckpoint(file);
  const [rows, columns] = reader.entry(`${linear}.weight`).shape as [number, number];
  await reader.close();
  const scales = new Uint8Array(new Float32Array(rows).fill(1).buffer);
  await writeStored(file, [
    { name: `${linear}.weight`, dtype: 'I8', shape: [rows, columns], bytes: new Uint8Array(rows * columns).fill(3) },
    { name: `${linear}.SCB`, dtype: 'F32', shape: [rows], bytes: scales },
  ]);
  const config = join(directory, 'config.json');
  const quantization = { quant_method: 'bitsandbytes', load_in_8bit: true };
  const json = { ...JSON.parse(await readFile(config, 'utf8')), quantization_config: quantization };
  await writeFile(config, JSON.stringify(json));
}

/** Writes a safetensors file again with other values. */
async function change(file: string, edit: (data: Float32Array) => void): Promise<void> {
  const reader = await openCheckpoint(file);
  const tensors: NamedArray[] = [];
  for (const name of reader.names) {
    const data = await reader.read(name);
    edit(data);
    tensors.push({ name, shape: reader.entry(name).shape, data });
  }
  await reader.close();
  await writeSafetensors(file, tensors);
}

/** What a run of two steps knows of itself. */
function stateOf(settings: Record<string, unknown>): TrainState {
  return { step: 2, tokens: 7, elapsedSeconds: 1, data: {} as TrainState['data'], evaluationsWithoutGain: 0, settings };
}

describe('export --format peft', () => {
  it.each(['mixtral-4x-top2', 'mistral-lora-dora', 'mistral-lora-rslora'])(
    'gives the bytes and fields that PEFT wrote: %s',
    async (name) => {
      const source = join(fixture(name), 'adapter');
      expect((await peft(source)).code).toBe(0);
      const weights = (directory: string) => readFile(join(directory, 'adapter_model.safetensors'));
      expect((await weights(output)).equals(await weights(source))).toBe(true);
      const theirs = JSON.parse(await readFile(join(source, 'adapter_config.json'), 'utf8'));
      if (theirs.target_parameters?.length === 0) theirs.target_parameters = null; // both mean none
      expect(Object.entries(await json('adapter_config.json'))).toEqual(Object.entries(theirs));
    },
  );

  it('names another base, rounds, and finds the adapter in the output of a run', async () => {
    await cp(`${mixtral}adapter`, join(folder, 'run/adapter'), { recursive: true });
    const { out } = await peft(join(folder, 'run'), '--base-name', 'some/base', '--dtype', 'bfloat16');
    expect(out).toContain(`${output}: the adapter of ${join(folder, 'run/adapter')}, r 4, alpha `);
    expect((await json('adapter_config.json')).base_model_name_or_path).toBe('some/base');
    const reader = await openCheckpoint(join(output, 'adapter_model.safetensors'));
    expect(reader.entry(reader.names[0]!).dtype).toBe('BF16');
    await reader.close();
  });

  it('writes the adapter of the newest checkpoint of a run that has none yet, as saving it would', async () => {
    const model = await loadModelDirectory(mixtral);
    const lora = resolveLoraConfig({ r: 3, targetModules: ['q_proj', 'v_proj'], useDora: true });
    const adapter = attachLora(model, lora, 5);
    await saveAdapter(adapter, join(folder, 'saved'), 'the/base');
    await saveTrainCheckpoint(join(folder, 'run/checkpoints'), 'step', stateOf({ lora, model: { from: 'the/base' } }), {
      parameters: adapter.parameters(),
    });
    model.dispose();
    expect((await peft(join(folder, 'run'))).code).toBe(0);
    for (const name of ['adapter_model.safetensors', 'adapter_config.json'])
      expect((await readFile(join(output, name))).equals(await readFile(join(folder, 'saved', name)))).toBe(true);
    const merged = await run(
      'export',
      '--format',
      'hf',
      '--model',
      mixtral,
      '--adapter',
      join(folder, 'run'),
      '--output',
      `${output}2`,
    );
    expect(merged.err).toContain(
      'is a checkpoint of a training run; write its adapter with export --format peft first',
    );
  });

  it('refuses the checkpoint of a run without an adapter', async () => {
    await saveTrainCheckpoint(join(folder, 'checkpoints'), 'step', stateOf({ model: { preset: 'therapeutic' } }), {});
    expect((await peft(folder)).err).toContain('step-00000002 is a checkpoint of a whole model, not of an adapter');
  });

  it('refuses a folder without one, and a folder with other files', async () => {
    expect((await peft(folder)).err).toContain(
      `${folder} holds no adapter; expected adapter_config.json (PEFT), the output folder of a LoRA run`,
    );
    await mkdir(output);
    await writeFile(join(output, 'adapter_config.json'), '{}');
    expect((await peft(`${mixtral}adapter`)).err).toContain('is not empty: it holds adapter_config.json.');
  });
});

describe('export', () => {
  it.each([
    [['--format', 'gguf'], "--format must be hf or peft, got 'gguf'."],
    [['--format', 'hf'], 'name the checkpoint folder with --model DIR.'],
    [['--format', 'peft'], "name the adapter's folder with --adapter DIR."],
    [
      ['--format', 'hf', '--model', mixtral, '--dtype', 'F16'],
      "--dtype must be float32, float16 or bfloat16, got 'F16'.",
    ],
    [
      ['--format', 'hf', '--model', mixtral, '--max-shard-size', '5 cats'],
      "--max-shard-size must be a size such as 80GB (80e9 bytes), 500MB or 24GiB, got '5 cats'.",
    ],
    [['--format', 'hf', '--model', mixtral, '--base-name', 'x'], '--base-name belongs to --format peft; leave it out.'],
    [['--format', 'peft', '--adapter', mixtral, '--model', mixtral], '--model belongs to --format hf; leave it out.'],
  ])('refuses %j', async (words, message) => {
    const { code, err } = await exportTo(...words);
    expect([code, err]).toEqual([1, expect.stringContaining(message)]);
  });
});
