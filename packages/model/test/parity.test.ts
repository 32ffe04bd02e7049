import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describeOnBackends, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { loadAdapter, loadModelDirectory, mergeLora } from '../src/index.js';
import { type Expected, expectEqualToReference, expectGreedyWithoutCache } from './reference.js';

/** `TMOE_FIXTURES` names another folder that the script beside the fixtures has filled, with another seed. */
const fixtures = process.env.TMOE_FIXTURES || fileURLToPath(new URL('./fixtures', import.meta.url));
const cases = readdirSync(fixtures).filter((name) => existsSync(join(fixtures, name, 'expected.json')));

it('has a case of every family', () => {
  for (const family of ['mistral', 'mixtral', 'qwen2-moe'])
    expect(cases.some((name) => name.startsWith(family))).toBe(true);
  expect(cases.length).toBeGreaterThanOrEqual(12);
});

describeOnBackends('Hugging Face parity', (backend) => {
  const steps = backend === 'webgpu' ? 2 : undefined; // SwiftShader takes a second for each

  for (const name of cases) {
    const directory = join(fixtures, name);
    const expected = JSON.parse(readFileSync(join(directory, 'expected.json'), 'utf8')) as Expected;

    it(`${name}: logits, every argmax, and greedy tokens decoded with the cache and without`, async () => {
      const model = await loadModelDirectory(directory);
      await expectEqualToReference(model, expected.ids, expected, steps);
      await expectGreedyWithoutCache(model, expected.ids, expected, steps);
      model.dispose();
    });

    if (!expected.adapter) continue;
    it(`${name}: with its adapter, beside the base, merged, and taken off again`, async () => {
      const model = await loadModelDirectory(directory);
      const adapter = await loadAdapter(model, join(directory, 'adapter'));
      await expectEqualToReference(model, expected.ids, expected.adapter!, steps);
      await expectGreedyWithoutCache(model, expected.ids, expected.adapter!, steps);
      adapter.merge();
      await expectEqualToReference(model, expected.ids, expected.adapter!, steps);
      adapter.unmerge();
      await expectEqualToReference(model, expected.ids, expected.adapter!, steps);
      mergeLora(model, adapter);
      await expectEqualToReference(model, expected.ids, expected.adapter!, steps);
      model.dispose();
    });
  }

  it('loads and disposes without leaving a tensor', async () => {
    await expectNoLeak(async () => {
      const model = await loadModelDirectory(join(fixtures, 'qwen2-moe-shared'));
      const session = model.createSession();
      await session.append([5, 6, 7]);
      session.dispose();
      model.dispose();
    });
  });
});
