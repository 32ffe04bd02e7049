import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import '@therapeutic-moe/test-kit';
import { expectClose } from '@therapeutic-moe/test-kit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadModelDirectory, saveHuggingFace, upcycleDirectory } from '../src/index.js';

/** A Python with torch and transformers; without it these tests are reported as skipped. */
const python = process.env.TMOE_PEERS_PYTHON ?? '';
/** What is promised of step 0. */
const LOGITS = 1e-4;

const file = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const fixture = file('./fixtures/mistral-nemo-shape/');
const dense = JSON.parse(readFileSync(`${fixture}expected.json`, 'utf8')) as { ids: number[]; logits: number[] };

describe.skipIf(python === '')('transformers computes of an upcycled model what it computes of the dense one', () => {
  let root: string;
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'upcycled-'));
  });
  afterAll(() => rm(root, { recursive: true, force: true }));

  it.each([
    ['Qwen2MoeForCausalLM', [1]],
    ['MixtralForCausalLM', undefined],
  ])('as a %s', async (architecture, layers) => {
    const [upcycled, exported] = [join(root, `${architecture}-upcycled`), join(root, `${architecture}-exported`)];
    const prompts = [0, 1, 2, 3].map((domain) => ({ domain, ids: [1, 5 + domain, 11 + 3 * domain, 40 - domain] }));
    const mixture = { numExperts: 4, numExpertsPerTok: 2, ...(layers && { layers }) };
    await upcycleDirectory(fixture, upcycled, { mixture, prompts, seed: 7 });
    const model = await loadModelDirectory(upcycled);
    await saveHuggingFace(model, exported);
    model.dispose();
    const args = [file('./transformers-reference.py'), JSON.stringify(dense.ids), exported];
    const { stdout } = await promisify(execFile)(python, args, { maxBuffer: 2 ** 26 });
    const { logits, strange, class: found } = JSON.parse(stdout)[exported];
    expect([found, strange]).toEqual([architecture, []]);
    await expectClose(logits.slice(-dense.logits.length), dense.logits, LOGITS);
  });
});
