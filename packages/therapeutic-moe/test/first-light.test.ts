import { readFileSync } from 'node:fs';
import * as tf from '@tensorflow/tfjs-core';
import { modelDirectory } from '@therapeutic-moe/embedded-model';
import { adamWUpdate } from '@therapeutic-moe/kernels';
import { CausalLm, loadModelDirectory, presets, trainable } from '@therapeutic-moe/model';
import { describeOnBackends, expectClose } from '@therapeutic-moe/test-kit';
import { Tokenizer } from '@therapeutic-moe/tokenizer';
import { describe, expect, it } from 'vitest';

/** Four layers of float32 products in another order, against logits of size 10. */
const LOGITS = 1e-3;

/** What transformers computes for the embedded checkpoint; made by `fixtures/make-embedded-expected.py`. */
const expected = JSON.parse(readFileSync(new URL('./fixtures/embedded-expected.json', import.meta.url), 'utf8')) as {
  prompt: string;
  ids: number[];
  logits: number[];
  all_argmax: number[];
};

describe('the embedded tokenizer', () => {
  it('encodes the chat template as transformers does', async () => {
    const tokenizer = await Tokenizer.fromDirectory(modelDirectory);
    const messages = [{ role: 'user' as const, content: 'How can I sleep better at night?' }];
    expect(tokenizer.applyChatTemplate(messages, { addGenerationPrompt: true })).toBe(expected.prompt);
    expect(tokenizer.encodeChat(messages, { addGenerationPrompt: true })).toEqual(expected.ids);
  });
});

describeOnBackends('the embedded model', () => {
  it("gives transformers' logits", async () => {
    const model = await loadModelDirectory(modelDirectory);
    const { last, best } = tf.tidy(() => {
      const { logits } = model.forward(tf.tensor2d([expected.ids], [1, expected.ids.length], 'int32'));
      const last = tf.slice(logits, [0, expected.ids.length - 1, 0], [1, 1, -1]);
      return { last: tf.reshape(last, [-1]), best: tf.argMax(logits, -1) };
    });
    await expectClose(last, expected.logits, LOGITS);
    expect([...(await best.data())]).toEqual(expected.all_argmax);
    tf.dispose([last, best]);
    model.dispose();
  });
});

describeOnBackends('training', () => {
  it('lowers the loss of a batch it sees five times, and leaves no tensor behind', async () => {
    const config = presets.therapeutic({
      vocabSize: 29,
      hiddenSize: 12,
      intermediateSize: 14,
      numHiddenLayers: 2,
      numAttentionHeads: 2,
      numKeyValueHeads: 1,
      headDim: 6,
      initializerRange: 0.2,
    });
    const model = CausalLm.create(config, 7);
    const { loss, parameters } = trainable(model, { klBalance: 0.01, zLoss: 0.001, domainSupervision: 0.05 });
    const variables = [...parameters().values()];
    const zeros = () => variables.map((v) => tf.tidy(() => tf.variable(tf.zeros(v.shape))));
    const [first, second] = [zeros(), zeros()];
    const ids = Int32Array.from({ length: 22 }, (_, i) => (i * 7) % 29);
    const batch = {
      batch: 2,
      seq: 11,
      ids,
      targets: ids.map((id) => (id + 7) % 29),
      mask: new Uint8Array(22).fill(1),
      domains: Int32Array.from({ length: 22 }, (_, i) => (i < 11 ? 0 : 3)),
    };
    const settings = { learningRate: 0.02, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0, gradientScale: 1 };
    const losses: number[] = [];
    let tensors = 0;
    for (let step = 1; step <= 5; step++) {
      const { value, grads } = tf.variableGrads(() => loss(batch, { tokensInStep: 22, seed: step }).total, variables);
      variables.forEach((variable, i) => {
        adamWUpdate(variable, grads[variable.name]!, first[i]!, second[i]!, { ...settings, step });
      });
      losses.push((await value.data())[0]!);
      tf.dispose([value, grads]);
      if (step === 1) tensors = tf.memory().numTensors;
    }
    expect(tf.memory().numTensors).toBe(tensors);
    expect(losses[4]).toBeLessThan(losses[0]! * 0.9);
    tf.dispose([first, second]);
    model.dispose();
  });
});
