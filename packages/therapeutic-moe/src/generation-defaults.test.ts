import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readGenerationDefaults } from './generation-defaults.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'generation-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const write = (content: unknown) =>
  writeFile(join(folder, 'generation_config.json'), typeof content === 'string' ? content : JSON.stringify(content));

describe('readGenerationDefaults', () => {
  it("translates Hugging Face's fields and leaves the others to other readers", async () => {
    await write({ temperature: 0.4, top_k: 20, top_p: 0.9, max_new_tokens: 99, guidance_scale: 1.5, eos_token_id: 0 });
    expect(await readGenerationDefaults(folder)).toEqual({
      temperature: 0.4,
      topK: 20,
      topP: 0.9,
      maxTokens: 99,
      guidanceScale: 1.5,
      repetitionPenalty: 1,
    });
  });

  it('reads do_sample false as greedy, top_k 0 as off, and a missing file as the usual defaults', async () => {
    expect((await readGenerationDefaults(folder)).guidanceScale).toBe(1);
    await write({ do_sample: false, top_k: 0 });
    const defaults = await readGenerationDefaults(folder);
    expect(defaults.temperature).toBe(0);
    expect('topK' in defaults).toBe(false);
  });

  it('refuses values out of range and broken files by name', async () => {
    await write({ guidance_scale: 0.5 });
    await expect(readGenerationDefaults(folder)).rejects.toThrow(
      'guidance_scale must be a number from 1 to 20, got 0.5',
    );
    await write('{');
    await expect(readGenerationDefaults(folder)).rejects.toThrow('generation_config.json is not valid JSON');
  });
});
