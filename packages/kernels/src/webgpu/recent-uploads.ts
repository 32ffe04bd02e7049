import type * as tf from '@tensorflow/tfjs-core';
import type { Recorder } from './recorder.js';

/** Arrays that are kept: a pass of layers with attention at three resolutions, forward and backward, asks for three. */
const KEPT = 8;

interface Upload {
  readonly values: Int32Array;
  readonly tensor: tf.TensorInfo;
}

/** Small arrays of the host that stay on the device while the same numbers come again, as they do layer after layer. */
export class RecentUploads {
  readonly #recorder: Recorder;
  /** The last used first. */
  #uploads: Upload[] = [];

  constructor(recorder: Recorder) {
    this.#recorder = recorder;
  }

  /** @returns an int32 tensor of these numbers. It stays this object's, which gives it back once others came after it. */
  get(values: Int32Array): tf.TensorInfo {
    const found = this.#uploads.find((upload) => same(upload.values, values));
    const upload = found ?? { values, tensor: this.#recorder.upload(values) };
    const others = this.#uploads.filter((other) => other !== upload);
    this.#uploads = [upload, ...others.slice(0, KEPT - 1)];
    for (const old of others.slice(KEPT - 1)) this.#recorder.dispose(old.tensor);
    return upload.tensor;
  }
}

function same(a: Int32Array, b: Int32Array): boolean {
  return a.length === b.length && a.every((value, i) => value === b[i]);
}
