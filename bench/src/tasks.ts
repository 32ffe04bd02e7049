import { trainStepNaive } from './naive/train-step.js';
import { attentionOf } from './tasks/attention.js';
import { decodeOurs } from './tasks/decode.js';
import { loadOurs, writeCheckpoint } from './tasks/load.js';
import { loraStepOurs } from './tasks/lora-step.js';
import { moeBlockOurs } from './tasks/moe-block.js';
import { presentBackends } from './tasks/present-backends.js';
import { runProduct } from './tasks/product.js';
import { trainStepOurs } from './tasks/train-step.js';

/** Everything that a task process can be asked for, by name. */
export const tasks: Readonly<Record<string, (input: never) => Promise<unknown>>> = {
  'present-backends': presentBackends,
  'train-step': trainStepOurs,
  'train-step-naive': trainStepNaive,
  'lora-step': loraStepOurs,
  'moe-block': moeBlockOurs,
  product: runProduct,
  decode: decodeOurs,
  attention: attentionOf,
  'write-checkpoint': writeCheckpoint,
  load: loadOurs,
};
