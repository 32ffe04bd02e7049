import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as tf from '@tensorflow/tfjs-core';
import { describeOnBackends, expectClose, expectNoLeak } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { type CausalLm, loadAdapter, loadModelDirectory, mergeLora } from '../src/index.js';

/** What the fixtures promise of a float32 implementation (transformers 5.18, peft 0.21). */
const LOGITS = 1e-4;

interface Expected {
  ids: number[];
  logits: number[];
  all_argmax: number[];
  greedy: number[];
  adapter?: Omit<Expected, 'ids'>;
}

const fixtures = fileURLToPath(new URL('./fixtures/', import.meta.url));
const cases = [
  'mistral-nemo-shape',
  'mistral-tied',
  'mistral-sliding',
  'mistral-rope-linear',
  'mistral-rope-dynamic',
  'mistral-rope-yarn',
  'mistral-rope-llama3',
  'mistral-rope-longrope',
  'mixtral-4x-top2',
  'mixtral-7x-top3',
  'mistral-lora-rslora',
  'mistral-lora-dora',
];

async function expectEqualToReference(
  model: CausalLm,
  ids: number[],
  expected: Omit<Expected, 'ids'>,
  steps = Number.POSITIVE_INFINITY,
): Promise<void> {
  const { logits, best } = tf.tidy(() => {
    const { logits } = model.forward(tf.tensor2d([ids], [1, ids.length], 'int32'));
    return {
      logits: tf.reshape(tf.slice(logits, [0, ids.length - 1, 0], [1, 1, -1]), [-1]),
      best: tf.argMax(logits, -1),
    };
  });
  await expectClose(logits, expected.logits, LOGITS);
  expect([...(await best.data())]).toEqual(expected.all_argmax);
  tf.dispose([logits, best]);
  const session = model.createSession();
  const tokens = expected.greedy.slice(0, steps);
  const greedy: number[] = [];
  for (let next = ids; greedy.length < tokens.length; next = [greedy.at(-1)!]) {
    const { logits } = await session.append(next);
    greedy.push(logits.indexOf(Math.max(...logits)));
  }
  session.dispose();
  expect(greedy).toEqual(tokens);
}

describeOnBackends('Hugging Face parity', (backend) => {
  const steps = backend === 'webgpu' ? 2 : undefined; // SwiftShader takes a second for each

  for (const name of cases) {
    const directory = `${fixtures}${name}`;
    const expected = JSON.parse(readFileSync(`${directory}/expected.json`, 'utf8')) as Expected;

    it(`${name}: logits, every argmax, and greedy tokens decoded with the cache`, async () => {
      const model = await loadModelDirectory(directory);
      await expectEqualToReference(model, expected.ids, expected, steps);
      model.dispose();
    });

    if (!expected.adapter || !existsSync(`${directory}/adapter`)) continue;
    it(`${name}: with its adapter, beside the base, merged, and taken off again`, async () => {
      const model = await loadModelDirectory(directory);
      const adapter = await loadAdapter(model, `${directory}/adapter`);
      await expectEqualToReference(model, expected.ids, expected.adapter!, steps);
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
      const model = await loadModelDirectory(`${fixtures}mixtral-4x-top2`);
      const session = model.createSession();
      await session.append([5, 6, 7]);
      session.dispose();
      model.dispose();
    });
  });
});
