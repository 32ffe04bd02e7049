import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { COMMIT, HubServer, type ServedFile } from '../../test/hub-server.js';
import { runCommandLine } from '../run-command-line.js';
import { createDownloadProgress, size } from './download-progress.js';
import { filesOf } from './hub-files.js';
import { pullModel } from './pull-model.js';

const text = (content: string): ServedFile => ({ content: Buffer.from(content) });
const weights = (length: number): ServedFile => ({
  content: Buffer.from(Uint8Array.from({ length }, (_, i) => i % 251)),
  lfs: true,
});
const shard = (i: number) => `model-0000${i}-of-00002.safetensors`;
const sharded = {
  'config.json': text('{}'),
  'tokenizer.json': text('{"model":{}}'),
  'README.md': text('# A model'),
  'model.safetensors.index.json': text(JSON.stringify({ weight_map: { a: shard(1), b: shard(2) } })),
  [shard(1)]: weights(300_007),
  [shard(2)]: weights(50_021),
  'pytorch_model.bin': weights(11),
  'consolidated.safetensors': weights(13),
};

let folder: string;
let hub: HubServer | undefined;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pull-'));
});
afterEach(async () => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  await hub?.close();
  hub = undefined;
  await rm(folder, { recursive: true });
});

const quiet = { expect: () => {}, start: () => {}, add: () => {}, stop: () => {} };

async function serve(
  files: Record<string, ServedFile>,
): Promise<{ hub: HubServer; pull: (token?: string) => ReturnType<typeof pullModel> }> {
  const started = new HubServer('some/model', files);
  hub = started;
  const hubUrl = await started.listen();
  const place = { repo: 'some/model', revision: 'main', hubUrl };
  return {
    hub: started,
    pull: (accessToken) => pullModel({ ...place, ...(accessToken && { accessToken }) }, folder, quiet),
  };
}

async function expectWhole(files: Record<string, ServedFile>, names: readonly string[]): Promise<void> {
  expect((await readdir(folder)).sort()).toEqual([...names].sort());
  for (const name of names) expect((await readFile(join(folder, name))).equals(files[name]!.content)).toBe(true);
}

const needed = ['config.json', 'tokenizer.json', 'model.safetensors.index.json', shard(1), shard(2)];

describe('pullModel', () => {
  it('brings what a model needs, at the commit that the branch names, and no more', async () => {
    const { hub, pull } = await serve(sharded);
    expect(await pull()).toMatchObject({ directory: folder, commit: COMMIT, files: needed });
    await expectWhole(sharded, needed);
    expect(hub.asked.filter((one) => /\.bin|consolidated/.test(one))).toEqual([]);
  });

  it('takes a single file before shards, and an adapter', async () => {
    const files = {
      ...sharded,
      'model.safetensors': weights(17),
      'adapter_config.json': text('{}'),
      'adapter_model.safetensors': weights(19),
    };
    const { pull } = await serve(files);
    await pull();
    await expectWhole(files, [
      'config.json',
      'tokenizer.json',
      'model.safetensors',
      'adapter_config.json',
      'adapter_model.safetensors',
    ]);
  });

  it('goes on from where a connection broke, in the same run', async () => {
    const { hub, pull } = await serve(sharded);
    hub.breakAfter = 100_003;
    await pull();
    await expectWhole(sharded, needed);
    expect(hub.asked).toContainEqual(expect.stringMatching(/^model-00001\S+ bytes=100003-300006$/));
  });

  it('goes on in a later run, and fetches nothing twice', async () => {
    const { hub, pull } = await serve(sharded);
    await writeFile(join(folder, `${shard(1)}.part`), sharded[shard(1)]!.content.subarray(0, 200_003));
    await pull();
    await expectWhole(sharded, needed);
    expect(hub.asked).toContainEqual(expect.stringMatching(/^model-00001\S+ bytes=200003-300006$/));
    hub.asked.length = 0;
    await pull();
    expect(hub.asked).toEqual([]);
  });

  it.each([
    ['model.safetensors', 'is no file of some/model at main; name a new folder with --output DIR'],
    ['generation_config.json', 'is no file of some/model at main'],
    ['config.json', 'is there with another content than in some/model at main'],
    [shard(1), 'is there with another content'],
  ])('asks for nothing and writes nothing where a folder holds another %s', async (name, says) => {
    const { hub, pull } = await serve(sharded);
    await writeFile(join(folder, name), 'of before');
    await writeFile(join(folder, 'notes.txt'), 'of the reader');
    await expect(pull()).rejects.toThrow(`pull: ${join(folder, name)} ${says}`);
    expect(hub.asked).toEqual([]);
    expect((await readdir(folder)).sort()).toEqual([name, 'notes.txt'].sort());
    expect(await readFile(join(folder, name), 'utf8')).toBe('of before');
  });

  it('gives up where no byte comes any more, and keeps what came', async () => {
    const { hub, pull } = await serve({ ...sharded, 'config.json': text('{}') });
    await pull();
    await rm(join(folder, shard(2)));
    await writeFile(join(folder, `${shard(2)}.part`), sharded[shard(2)]!.content.subarray(0, 5));
    hub.breakAlways = 0;
    await expect(pull()).rejects.toThrow(
      /model-00002\S+: the download from \S+ broke off at 5 of 50021 bytes: .*What came is kept/,
    );
    expect(await readdir(folder)).toContain(`${shard(2)}.part`);
  });

  it('refuses content that is not the one listed, and removes it', async () => {
    for (const [name, file] of [
      [shard(2), { ...weights(50_021), served: Buffer.alloc(50_021) }],
      ['tokenizer.json', { ...text('{"model":{}}'), served: Buffer.from('{"model":[]}') }],
    ] as const) {
      const { pull } = await serve({ ...sharded, [name]: file });
      await rm(join(folder, 'tokenizer.json'), { force: true });
      await expect(pull()).rejects.toThrow(new RegExp(`^pull: ${name}: expected the content that some/model lists`));
      expect(await readdir(folder)).not.toContain(name);
      expect(await readdir(folder)).not.toContain(`${name}.part`);
      await hub!.close();
    }
  });

  it('refuses a size that is not the one listed', async () => {
    const { pull } = await serve({ ...sharded, [shard(2)]: { ...weights(50_021), served: Buffer.alloc(7) } });
    await expect(pull()).rejects.toThrow(/expected 50021 bytes as some\/model lists, the server offers 7/);
  });

  it('says what is wrong with access, name, revision and server', async () => {
    const { hub, pull } = await serve(sharded);
    hub.token = 'hf_right';
    await expect(pull()).rejects.toThrow(/refuses access \(401\).*no token was given. Set HF_TOKEN/);
    await expect(pull('hf_wrong')).rejects.toThrow(/refuses access \(401\).*the given token may not read it/);
    await pull('hf_right');
    const place = { repo: 'some/other', revision: 'v2', hubUrl: 'http://127.0.0.1:1' };
    await expect(pullModel(place, folder, quiet)).rejects.toThrow('http://127.0.0.1:1 cannot be asked');
  });

  it('refuses a repository without a model, or with pickle files only, or with a shard missing', async () => {
    for (const [files, says] of [
      [{ 'README.md': text('x') }, 'some/model at main has neither config.json nor adapter_config.json'],
      [
        { 'config.json': text('{}'), 'pytorch_model.bin': weights(3) },
        'has no model.safetensors, only pytorch_model.bin; other formats are not read.',
      ],
      [{ ...sharded, [shard(2)]: undefined }, `index.json names "${shard(2)}", which the repository does not have`],
    ] as const) {
      const present = Object.fromEntries(Object.entries(files).filter(([, file]) => file)) as Record<
        string,
        ServedFile
      >;
      const { pull } = await serve(present);
      await expect(pull()).rejects.toThrow(says);
      await hub!.close();
    }
  });

  it.each(['../evil.json', 'a/../../evil', '/etc/passwd', '..\\evil', 'C:\\evil', 'a//b'])(
    'refuses a listing that names %j',
    (path) => {
      expect(() => filesOf([{ type: 'file', path, size: 1, oid: '' }])).toThrow(
        `the listing names ${JSON.stringify(path)}, which would leave its folder`,
      );
    },
  );
});

it('never shows a control character of a name', async () => {
  expect(() => filesOf([{ type: 'file', path: 'a\u001b[2J\u009b.json', size: 1, oid: '' }])).toThrow(
    'the listing names "a\\u001b[2J\\u009b.json", with a control character; nothing was written.',
  );
  const index = text(JSON.stringify({ weight_map: { a: 'model-\u009b2J.safetensors' } }));
  const { pull } = await serve({ ...sharded, 'model.safetensors.index.json': index });
  await expect(pull()).rejects.toThrow(/^[ -~]*$/);
});

describe('the command', () => {
  it('takes a name, HF_ENDPOINT and HF_TOKEN, and prints where the model lies', async () => {
    const { hub } = await serve(sharded);
    hub.token = 'hf_secret';
    const [log, error] = [
      vi.spyOn(console, 'log').mockImplementation(() => {}),
      vi.spyOn(console, 'error').mockImplementation(() => {}),
    ];
    vi.spyOn(process.stderr, 'write').mockImplementation(() => true);
    vi.stubEnv('HF_ENDPOINT', `${hub.address}/`);
    vi.stubEnv('HF_TOKEN', 'hf_secret');
    expect(await runCommandLine(['pull', 'some/model', '--output', folder, '--json'])).toBe(0);
    expect(JSON.parse(log.mock.calls[0]![0] as string)).toMatchObject({ directory: folder, commit: COMMIT });
    expect(await runCommandLine(['pull', 'some/other', '--output', folder])).toBe(1);
    expect(error.mock.lastCall![0]).toMatch(/^therapeutic-moe pull: .*does not have it \(404\)/);
    for (const name of ['model', '../x', 'a/..', 'a/b/c', 'https://huggingface.co/a/b']) {
      expect(await runCommandLine(['pull', name])).toBe(1);
      expect(error.mock.lastCall![0]).toContain(`REPO must be OWNER/NAME, such as`);
    }
    expect(await runCommandLine(['pull', 'a/b', 'c/d'])).toBe(1);
    expect(error.mock.lastCall![0]).toContain("unexpected word 'c/d'; pull knows --revision,");
  });
});

describe('progress', () => {
  it('is a line for each file and each tenth where there is no terminal', () => {
    const lines: string[] = [];
    const progress = createDownloadProgress({
      write: (line: string) => lines.push(line),
    } as unknown as NodeJS.WriteStream);
    progress.expect(2_000_000);
    progress.start('model.safetensors');
    progress.add(150_000, false);
    progress.add(100_000, true);
    progress.add(1_750_000, true);
    progress.stop();
    expect(lines[0]).toBe('model.safetensors: 0 B of 2.0 MB\n');
    expect(lines[1]).toMatch(/^model\.safetensors: 250\.0 kB of 2\.0 MB, \S+ \S?B\/s, .* left\n$/);
    expect(lines).toHaveLength(4);
  });

  it('is a bar on a terminal', () => {
    const written: string[] = [];
    const stream = {
      isTTY: true,
      write: (part: string) => written.push(part),
      columns: 80,
      on: () => {},
      once: () => {},
      removeListener: () => {},
    };
    const progress = createDownloadProgress(stream as unknown as NodeJS.WriteStream);
    progress.expect(10);
    progress.start('config.json');
    progress.add(10, true);
    progress.stop();
    expect(written.join('')).toContain('10 B of 10 B');
  });

  it('tells sizes in units that fit', () => {
    expect([0, 999, 1000, 24_495_564_800].map(size)).toEqual(['0 B', '999 B', '1.0 kB', '24.5 GB']);
  });
});
