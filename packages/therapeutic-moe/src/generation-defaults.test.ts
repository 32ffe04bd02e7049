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
    await write({
      temperature: 0.4,
      top_k: 20,
      top_p: 0.9,
      max_new_tokens: 99,
      guidance_scale: 1.5,
      eos_token_id: 0,
      use_cache: true,
    });
    expect(await readGenerationDefaults(folder, 1000)).toEqual({
      temperature: 0.4,
      topK: 20,
      topP: 0.9,
      maxTokens: 99,
      guidanceScale: 1.5,
      repetitionPenalty: 1,
      stopTokens: [0],
    });
  });

  it('reads do_sample false as greedy, top_k 0 as off, and a missing file as the usual defaults', async () => {
    expect((await readGenerationDefaults(folder, 1000)).guidanceScale).toBe(1);
    await write({ do_sample: false, top_k: 0 });
    const defaults = await readGenerationDefaults(folder, 1000);
    expect(defaults.temperature).toBe(0);
    expect('topK' in defaults).toBe(false);
  });

  it('reads every token that ends a reply, and the one that starts a text', async () => {
    await write({ eos_token_id: [2, 7, 999], bos_token_id: 1 });
    expect(await readGenerationDefaults(folder, 1000)).toMatchObject({ stopTokens: [2, 7, 999], bosTokenId: 1 });
    await write({ eos_token_id: [2, 1000] });
    await expect(readGenerationDefaults(folder, 1000)).rejects.toThrow(
      'generation_config.json: eos_token_id must hold token ids from 0 to 999, got 1000.',
    );
  });

  it('refuses ways to generate that are not implemented, and takes them where they change nothing', async () => {
    await write({
      num_beams: 1,
      min_p: null,
      typical_p: 1,
      no_repeat_ngram_size: 0,
      bad_words_ids: [],
      token_healing: false,
    });
    expect((await readGenerationDefaults(folder, 1000)).topP).toBe(0.95);
    for (const field of [
      { num_beams: 4 },
      { min_p: 0.05 },
      { suppress_tokens: [3] },
      { force_words_ids: [[3]] },
      { constraints: [{}] },
      { encoder_repetition_penalty: 1.2 },
      { watermarking_config: {} },
      { token_healing: true },
    ]) {
      await write(field);
      await expect(readGenerationDefaults(folder, 1000)).rejects.toThrow(
        `${Object.keys(field)} is ${JSON.stringify(Object.values(field)[0])}, which is not implemented; take the field out`,
      );
    }
  });

  it('refuses values out of range and broken files by name', async () => {
    await write({ guidance_scale: 0.5 });
    await expect(readGenerationDefaults(folder, 1000)).rejects.toThrow(
      'guidance_scale must be a number from 1 to 20, got 0.5',
    );
    for (const [content, says] of [
      [null, 'generation_config.json must hold an object, got null.'],
      [[1], 'generation_config.json must hold an object, got a list.'],
      [{ do_sample: 'no' }, 'do_sample must be true or false, got "no".'],
      [{ top_k: 2.5 }, 'top_k must be a whole number from 0 to 1000000, got 2.5.'],
      [{ max_new_tokens: 1.5 }, 'max_new_tokens must be a whole number from 1 to 1000000, got 1.5.'],
      [{ bos_token_id: [1, 2] }, 'bos_token_id must be one token id, got [1,2].'],
    ] as const) {
      await write(content);
      await expect(readGenerationDefaults(folder, 1000)).rejects.toThrow(says);
    }
    await write('{');
    await expect(readGenerationDefaults(folder, 1000)).rejects.toThrow('generation_config.json is not valid JSON');
  });
});
