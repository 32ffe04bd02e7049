import { copyFile, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CausalLm, loadModelDirectory, presets, saveModelDirectory, therapeuticDomains } from '@therapeutic-moe/model';
import { CHAT_SPECIAL_TOKENS, chatTokenizerConfig, trainBpe } from '@therapeutic-moe/tokenizer';
import { runCommand } from 'citty';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { domainPrompts } from '../domain-prompts.js';
import { upcycleCommand } from './upcycle.js';

let folder: string;
let base: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'upcycle-command-'));
  base = await writeBase(join(folder, 'base'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));
afterEach(() => vi.restoreAllMocks());

/** A dense checkpoint with a tokenizer that knows the built-in sentences. */
async function writeBase(directory: string): Promise<string> {
  const texts = Object.values(domainPrompts).flat();
  const tokenizer = trainBpe(texts, { vocabSize: 300, specialTokens: CHAT_SPECIAL_TOKENS });
  const model = CausalLm.create(
    presets.therapeutic({
      ...{ vocabSize: 300, hiddenSize: 12, intermediateSize: 10, numHiddenLayers: 3, numAttentionHeads: 2 },
      ...{ numKeyValueHeads: 1, headDim: 6, maxPositionEmbeddings: 64, initializerRange: 0.3, mixture: undefined },
    }),
    5,
  );
  await saveModelDirectory(model, directory);
  model.dispose();
  await writeFile(join(directory, 'tokenizer.json'), JSON.stringify(tokenizer));
  await writeFile(join(directory, 'tokenizer_config.json'), JSON.stringify(chatTokenizerConfig(64)));
  return directory;
}

async function run(...rawArgs: string[]): Promise<string> {
  const log = vi.spyOn(console, 'log').mockImplementation(() => {});
  vi.spyOn(console, 'error').mockImplementation(() => {});
  await runCommand(upcycleCommand as never, { rawArgs: ['--base', base, '--backend', 'wasm', ...rawArgs] });
  return log.mock.calls.map((call) => call.join(' ')).join('\n');
}

describe('upcycle', () => {
  it('makes routers from the built-in sentences, and says what it made', async () => {
    const output = join(folder, 'by-sentences');
    const out = await run('--output', output, '--layers', '1,2');
    const lines = out.split('\n');
    expect(lines[0]).toMatch(
      /^layer {3}1, 4 experts of 10 neurons, router agrees with \d+\.\d % of the prompts' tokens \(by chance 25\.0 %\)$/,
    );
    expect(lines[2]).toBe('domains           psychology, mental_health, bias_detection, general_therapeutic');
    const [feedForward, gate] = [3 * 10 * 12, 4 * 12];
    const before = 300 * 12 + 12 + 3 * (2 * 12 * 12 + 2 * 12 * 6 + 2 * 12 + feedForward);
    const after = before + 2 * (3 * feedForward + gate);
    expect(lines[3]).toBe(
      `parameters        ${before.toLocaleString('en')} before, ${after.toLocaleString('en')} after, float32`,
    );
    expect(lines[5]).toMatch(/^output {12}the dense model's, whatever the routers choose/);
    expect((await readdir(output)).sort()).toEqual([
      'config.json',
      'model.safetensors',
      'tokenizer.json',
      'tokenizer_config.json',
    ]);
    const model = await loadModelDirectory(output);
    expect(model.config.mixture).toMatchObject({ domains: therapeuticDomains, layers: [1, 2] });
    model.dispose();
  });

  it('takes domains and prompts from a file, in the order of the domains or as they come', async () => {
    const file = join(folder, 'prompts.jsonl');
    const rows = [
      { domain: 'sea', text: 'The tide comes in.' },
      { id: 4, domain: 'wind', text: 'The wind turns.' },
      { domain: 'sand', text: 'Sand dries.' },
    ];
    await writeFile(file, rows.map((row) => JSON.stringify(row)).join('\n\n'));
    const options = ['--layers', 'all', '--top-k', '1', '--router', file, '--json'];
    const made = JSON.parse(await run('--output', join(folder, 'three'), '--experts', '3', ...options));
    expect(made).toMatchObject({ experts: 3, domains: ['sea', 'wind', 'sand'], dtype: 'float32' });
    expect(made.layers).toHaveLength(3);
    vi.restoreAllMocks();
    const two = ['--experts', '2', '--domains', 'sand,sea'];
    const ofTwo = JSON.parse(await run('--output', join(folder, 'two'), ...two, ...options));
    expect(ofTwo).toMatchObject({ domains: ['sand', 'sea'], leftOut: 1, topK: 1 });
    vi.restoreAllMocks();
    const told = await run('--output', join(folder, 'told'), ...two, ...options.slice(0, -1));
    expect(told).toContain('left out          1 row of other domains');
    expect(told).toContain('so the loss of the next token does not train routers');
    vi.restoreAllMocks();
    const unknown = ['--experts', '2', '--domains', 'sea,zz'];
    await expect(run('--output', join(folder, 'zz'), ...unknown, ...options)).rejects.toThrow(
      `--domains: ${file} has no row of 'zz', only of sea, wind, sand.`,
    );
    await expect(run('--output', join(folder, 'four'), ...options)).rejects.toThrow(
      '--experts is 4, but there are 3 domains: sea, wind, sand; name one for each expert',
    );
  });

  it('says that fewer neurons give another output, and how far it is where prompts tell', async () => {
    const narrow = ['--layers', '0', '--expert-hidden', '7'];
    const told = await run('--output', join(folder, 'narrow'), ...narrow);
    expect(told).toMatch(/layer {3}0, 4 experts of 7 neurons, .*, output differs by \d+\.\d %/);
    expect(told).toMatch(/not the dense model's: experts have 7 of 10 neurons; .* Train before use\.$/);
    vi.restoreAllMocks();
    const random = await run(
      '--output',
      join(folder, 'random'),
      ...narrow,
      '--router',
      'random',
      '--dtype',
      'bfloat16',
    );
    expect(random).toContain('layer   0, 4 experts of 7 neurons, routed at random');
    expect(random).toContain('after, bfloat16');
    expect(random).toContain('how much was not measured, without prompts');
  });

  it('is near the dense model with noise', async () => {
    const options = ['--layers', '0', '--router', 'random', '--noise', '0.01', '--seed', '3'];
    expect(await run('--output', join(folder, 'noise'), ...options)).toContain('moved by noise of 0.01');
  });

  it('refuses before it writes', async () => {
    const refuses = async (words: string, ...args: string[]) => {
      const output = join(folder, 'refused');
      await expect(run('--output', output, ...args)).rejects.toThrow(words);
      await expect(readdir(output)).rejects.toThrow('ENOENT');
    };
    await refuses("--domains: there are no sentences of 'sea' here", '--layers', '0', '--domains', 'sea,b,c,d');
    await refuses('--experts is 3, but there are 4 domains', '--layers', '0', '--experts', '3');
    await refuses('layers names 3, but numHiddenLayers is 3', '--layers', '3');
    await refuses(
      '--expert-hidden must be a whole number from 1 to 10, got',
      '--layers',
      '0',
      '--expert-hidden',
      '9999',
    );
    await refuses("--noise must be a number above 0, 1000 at most, got '0'; leave", '--layers', '0', '--noise', '0');
    const same = join(folder, 'same.jsonl');
    await writeFile(same, '{"domain":"a","text":"One."}\n{"domain":"b","text":"One."}');
    await refuses('the domains a and b have the same prompts', '--layers', '0', '--experts', '2', '--router', same);
    const none = ['--backend', 'none such'];
    await refuses('layers names 3, but numHiddenLayers is 3', '--layers', '3', ...none);
    await run('--output', join(folder, 'made'), '--layers', '0', '--router', 'random', ...none);
    await refuses('the base has 4 experts already', '--layers', '0', '--base', join(folder, 'made'), ...none);
    await refuses("--layers must be a whole number from 0 to 2147483647, got 'some'", '--layers', 'some');
    await refuses("--dtype must be float32, float16 or bfloat16, got 'int8'", '--layers', '0', '--dtype', 'int8');
    const file = join(folder, 'no-domain.jsonl');
    await writeFile(file, '{"text":"Personal."}');
    await refuses('no-domain.jsonl: row 1: domain must be a name, got nothing.', '--layers', '0', '--router', file);
    await expect(run('--output', base, '--layers', '0')).rejects.toThrow('is not empty: it holds config.json');
  });

  it('needs a token that starts a text, for prompts alone', async () => {
    const bare = join(folder, 'bare');
    await saveBare(bare);
    await expect(run('--output', join(folder, 'bare-out'), '--layers', '0', '--base', bare)).rejects.toThrow(
      /neither a bos nor an eos token .* use --router random/,
    );
  });
});

async function saveBare(directory: string): Promise<void> {
  const model = await loadModelDirectory(base);
  await saveModelDirectory(model, directory);
  model.dispose();
  await copyFile(join(base, 'tokenizer.json'), join(directory, 'tokenizer.json'));
  await writeFile(join(directory, 'tokenizer_config.json'), '{}');
}
