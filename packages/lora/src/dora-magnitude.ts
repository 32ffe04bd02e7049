import * as tf from '@tensorflow/tfjs-core';

/** A column of this length or less has no direction; dividing by it would make what is not a number. */
const LEAST_NORM = 1e-30;

/**
 * DoRA's magnitude vector (arXiv:2402.09353, eq. 5): an adapted weight `W + dW` keeps its direction, column by column,
 * and takes these lengths.
 */
export class DoraMagnitude {
  /** `[outputSize]`, at first the lengths of the base's columns. */
  readonly vector: tf.Variable;

  /** @param weight gives that of the base, `[inputSize, outputSize]`; freed here. */
  constructor(weight: () => tf.Tensor) {
    this.vector = tf.tidy(() => tf.variable(columnNorms(weight())));
  }

  /**
   * What each column is multiplied by, `m / ||W + dW||`. The norm is constant to the tape, as the paper proposes
   * (section 4.3) and PEFT does: the gradient reaches the vector and nothing else.
   *
   * @param adapted gives `W + dW`, `[inputSize, outputSize]`; freed here.
   * @returns `[outputSize]`. Caller disposes.
   */
  gain(adapted: () => tf.Tensor): tf.Tensor {
    return tf.tidy(() =>
      tf.div(
        this.vector,
        tf.maximum(
          untaped(() => columnNorms(adapted())),
          LEAST_NORM,
        ),
      ),
    );
  }

  dispose(): void {
    this.vector.dispose();
  }
}

/** Euclidean length of each column. */
function columnNorms(weight: tf.Tensor): tf.Tensor {
  return tf.sqrt(tf.sum(tf.square(weight), 0));
}

/** Computes without the tape: what `customGrad` runs is not recorded, and its own input leads nowhere. */
function untaped(compute: () => tf.Tensor): tf.Tensor {
  return tf.customGrad(() => ({ value: tf.tidy(compute), gradFunc: () => tf.scalar(0) }))(tf.scalar(0));
}
