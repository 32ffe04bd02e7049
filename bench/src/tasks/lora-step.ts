import { type BackendName, useBackend } from '@therapeutic-moe/backend';
import { attachLora } from '@therapeutic-moe/lora';
import { CausalLm, resolveConfig, trainable } from '@therapeutic-moe/model';
import type { Timing } from '../comparison.js';
import type { LoraStepShape } from '../lora-step.js';
import { randomBatch, timeSteps } from './train-step.js';

/** The step as the trainer runs it: gradients of the adapter's factors, metrics read back, clipping, AdamW. */
export async function loraStepOurs(
  input: LoraStepShape & { readonly backend: BackendName; readonly repeats: number },
): Promise<Timing> {
  const { backend, precision, repeats, r, loraAlpha, batch, seq, ...sizes } = input;
  const { kernels } = await useBackend(backend, { precision });
  const model = CausalLm.create(resolveConfig({ ...sizes, maxPositionEmbeddings: seq }), 7);
  const adapter = attachLora(model, { r, loraAlpha }, 8);
  const task = trainable(model, { klBalance: 0, zLoss: 0, domainSupervision: 0 }, adapter);
  const found = await timeSteps(task, randomBatch({ batch, seq, vocabSize: sizes.vocabSize }), repeats);
  return { ...found, detail: `kernels ${kernels}, ${precision}` };
}
