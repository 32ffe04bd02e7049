import * as tf from '@tensorflow/tfjs-core';
import { expect } from 'vitest';

/**
 * Asserts that `run` leaves no tensor behind. It runs twice, since a first run may fill caches that stay; the tensors
 * it returns are disposed.
 *
 * @param run the work; may be async.
 */
export async function expectNoLeak(run: () => unknown): Promise<void> {
  disposeTensors(await run());
  const before = tf.memory().numTensors;
  disposeTensors(await run());
  expect(tf.memory().numTensors - before, 'expectNoLeak: tensors left behind').toBe(0);
}

function disposeTensors(returned: unknown): void {
  if (returned !== null && typeof returned === 'object') tf.dispose(returned as tf.TensorContainer);
}
