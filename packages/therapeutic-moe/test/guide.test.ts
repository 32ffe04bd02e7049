import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { loadModelDirectory } from '@therapeutic-moe/model';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { runCommandLine } from '../src/run-command-line.js';

/** A Python with torch and transformers; without it that test is reported as skipped. */
const python = process.env.TMOE_PEERS_PYTHON ?? '';
const root = fileURLToPath(new URL('../../../', import.meta.url));
const guide = readFileSync(join(root, 'docs/guides/bring-your-base-model.md'), 'utf8');
const commands = [...guide.matchAll(/```sh\n([\s\S]*?)```/g)].flatMap(([, block]) => block!.trim().split('\n'));

let folder: string;
const before = process.cwd();
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'guide-'));
  await mkdir(join(folder, 'runs'));
  await symlink(join(root, 'examples'), join(folder, 'examples'));
  process.chdir(folder);
});
afterAll(async () => {
  process.chdir(before);
  await rm(folder, { recursive: true, force: true });
});
afterEach(() => vi.restoreAllMocks());

/** Runs a line as a shell would, as far as the guide goes: a command, `echo` into one or into a file. */
async function runLine(line: string): Promise<string> {
  const [, quoted, into, rest] = /^echo (".*?"|'.*?') ([|>]) (.*)$/.exec(line) ?? [];
  if (into === '>') {
    await writeFile(rest!, `${quoted!.slice(1, -1)}\n`);
    return '';
  }
  if (quoted) vi.spyOn(process, 'stdin', 'get').mockReturnValue(Readable.from([`${quoted.slice(1, -1)}\n`]) as never);
  const [npx, name, ...words] = (rest ?? line).split(' ');
  expect([npx, name]).toEqual(['npx', 'therapeutic-moe']);
  const said: string[] = [];
  vi.spyOn(console, 'log').mockImplementation((...words) => void said.push(words.join(' ')));
  const complaints = vi.spyOn(console, 'error').mockImplementation(() => {});
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => said.push(String(text)) > 0);
  expect(await runCommandLine(words), complaints.mock.calls.join('\n')).toBe(0);
  return said.join('\n');
}

describe('the guide Bring your base model', () => {
  it('has commands that run in order, and do what it says', async () => {
    const said = new Map<string, string>();
    for (const line of commands) {
      said.set(line, await runLine(line));
      vi.restoreAllMocks();
    }
    const of = (words: string) => [...said].find(([line]) => line.includes(words))?.[1];
    const base = await loadModelDirectory('examples/bring-your-base-model/base');
    const size = [...base.parameters().values()].reduce((sum, variable) => sum + variable.size, 0).toLocaleString('en');
    base.dispose();
    expect(of('inspect')).toContain(size);
    expect(readFileSync('examples/bring-your-base-model/README.md', 'utf8')).toContain(`${size} numbers`);
    expect(of('upcycle')).toContain("the dense model's, whatever the routers choose");
    const reply = of('| npx therapeutic-moe chat')!;
    expect(reply.length).toBeGreaterThan(20);
    const [first, last] = await lossesOf('runs/lora/train.jsonl');
    expect(last).toBeLessThan(first! / 2);
    expect(of('export --format hf --model runs/trained-experts')).toContain('Qwen2-MoE');
    expect(await expertsApart('runs/experts')).toBe(0);
    expect(await expertsApart('runs/trained-experts/model')).toBeGreaterThan(0);
    const [firstOfExperts, lastOfExperts] = await lossesOf('runs/expert-lora/train.jsonl');
    expect(lastOfExperts).toBeLessThan(firstOfExperts! / 2);
    expect(await expertsApart('runs/expert-lora/model')).toBeGreaterThan(0);
    const plan = of('inspect --config')!;
    expect(plan).toMatch(/ {2}all {13}46,591,987,712 {2}fits 80,000,000,000/);
    const long = JSON.parse(
      await runLine(`${[...said.keys()].find((line) => line.includes('--seq 512'))!.replace('512', '2048')} --json`),
    );
    const { total, activations, checkpointedTotal } = long.plan.training;
    expect([total, activations, checkpointedTotal].map((bytes) => (bytes / 1e9).toFixed(1))).toEqual(
      ['103.9', '74.2', '33.2'].map((figure) => guide.includes(figure) && figure),
    );
    expect((long.bytes.float32 / 1e9).toFixed(0)).toBe('49');
    const names = JSON.parse(await readFile('runs/peft/adapter_config.json', 'utf8'));
    expect(names.base_model_name_or_path).toBe('my-name/my-base');
  }, 240_000);

  it('names the same model after upcycling', async () => {
    const line = 'npx therapeutic-moe logits --model MODEL --ids 5,6,7,8 --greedy 5 --json';
    const one = JSON.parse(await runLine(line.replace('MODEL', 'examples/bring-your-base-model/base')));
    vi.restoreAllMocks();
    const other = JSON.parse(await runLine(line.replace('MODEL', 'runs/experts')));
    expect([other.allArgmax, other.greedy]).toEqual([one.allArgmax, one.greedy]);
    for (const [i, logit] of one.logits.entries()) expect(other.logits[i]).toBeCloseTo(logit, 4);
  });
});

it.skipIf(python === '')(
  'shows Python that says of the base what the command says',
  async () => {
    const [, block] = /```python\n([\s\S]*?)```/.exec(guide)!;
    const { stdout } = await promisify(execFile)(python, ['-c', block!]);
    const ours = await runLine(
      'npx therapeutic-moe logits --model examples/bring-your-base-model/base --ids 5,6,7,8 --json',
    );
    expect(JSON.parse(stdout)).toEqual(JSON.parse(ours).allArgmax);
  },
  240_000,
);

/** The largest difference of the first two experts of layer 1. */
async function expertsApart(directory: string): Promise<number> {
  const model = await loadModelDirectory(directory);
  const stack = model.parameters().get('model.layers.1.block_sparse_moe.experts.down_proj')!;
  const values = await stack.data();
  const size = values.length / stack.shape[0]!;
  model.dispose();
  return Math.max(...values.slice(0, size).map((x, i) => Math.abs(x - values[size + i]!)));
}

async function lossesOf(path: string): Promise<[number, number]> {
  const steps = (await readFile(path, 'utf8'))
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line).loss as number);
  return [steps[0]!, steps.at(-1)!];
}
