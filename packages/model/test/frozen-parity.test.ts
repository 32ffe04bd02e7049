import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as tf from '@tensorflow/tfjs-core';
import { describeOnBackends, expectClose } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { loadModelDirectory } from '../src/index.js';
import { thawedModel } from './thawed-model.js';

/** float32 sums of the same products in another order. */
const SAME = 1e-5;

/**
 * How far rounded weights move logits of these fixtures: a share of the largest logit.
 */
const ROUNDED = { bfloat16: 0.01, float16: 0.0015, int8: 0.05 } as const;

const fixtures = fileURLToPath(new URL('./fixtures/', import.meta.url));
const cases = ['mistral-nemo-shape', 'mistral-tied', 'mixtral-4x-top2', 'mixtral-7x-top3', 'qwen2-moe-shared'];

describeOnBackends('a fixture loaded frozen', () => {
  for (const name of cases) {
    for (const weights of ['bfloat16', 'float16', 'int8'] as const) {
      it(`${name}: is the model of its thawed weights in ${weights}`, async () => {
        const { ids, logits } = JSON.parse(readFileSync(`${fixtures}${name}/expected.json`, 'utf8'));
        const frozen = await loadModelDirectory(`${fixtures}${name}`, { weights });
        const thawed = thawedModel(frozen);
        const input = tf.tensor2d(ids, [1, ids.length], 'int32');
        const [own, plain] = [frozen, thawed].map((model) =>
          tf.tidy(() => tf.reshape(model.forward(input, { lastOnly: true }).logits, [-1])),
        );
        await expectClose(own!, plain!, SAME);
        const far = Math.max(...(await own!.data()).map((value, i) => Math.abs(value - logits[i])));
        const largest = Math.max(...logits.map(Math.abs));
        expect(far / largest).toBeLessThan(ROUNDED[weights]);
        tf.dispose([input, own!, plain!]);
        frozen.dispose();
        thawed.dispose();
      });
    }
  }
});
