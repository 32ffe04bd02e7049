import type * as tf from '@tensorflow/tfjs-core';
import { expect, it } from 'vitest';
import { RecentUploads } from './recent-uploads.js';
import type { Recorder } from './recorder.js';

function uploads() {
  const disposed: tf.TensorInfo[] = [];
  const upload = (values: Int32Array) => ({ dataId: {}, shape: [values.length], dtype: 'int32' as const });
  const recorder = { upload, dispose: (tensor: tf.TensorInfo) => disposed.push(tensor) };
  return { recent: new RecentUploads(recorder as unknown as Recorder), disposed };
}

const numbers = (...values: number[]) => new Int32Array(values);

it('uploads the same numbers once, whatever array holds them', () => {
  const { recent } = uploads();
  const first = recent.get(numbers(2, 3));
  expect(recent.get(numbers(2, 5))).not.toBe(first);
  expect(recent.get(numbers(2, 3, 5))).not.toBe(first);
  expect(recent.get(numbers(2, 3))).toBe(first);
});

it('gives back the longest unused of more than eight, and only that', () => {
  const { recent, disposed } = uploads();
  const tensors = [0, 1, 2, 3, 4, 5, 6, 7].map((i) => recent.get(numbers(i)));
  recent.get(numbers(0));
  recent.get(numbers(8));
  expect(disposed).toEqual([tensors[1]]);
  expect(recent.get(numbers(0))).toBe(tensors[0]);
});
