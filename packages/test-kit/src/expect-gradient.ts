import * as tf from '@tensorflow/tfjs-core';
import { expectClose } from './expect-close.js';

/** How {@link expectGradient} compares. */
export interface GradientCheck {
  /** The step of the central difference. Default 1e-2, which suits float32. */
  epsilon?: number;
  /** Allowed error, as in `expectClose`. Default 1e-2: a central difference in float32 is no better. */
  tolerance?: number;
}

/**
 * Asserts that the gradients of `f` equal central differences. The output is made a scalar by fixed weights, different
 * for each element, so a gradient that mixes up elements cannot pass. Inputs of dtype int32 are constants.
 *
 * @param f a function of the inputs; what it returns is disposed.
 * @param inputs tensors; not disposed.
 */
export async function expectGradient(
  f: (...inputs: tf.Tensor[]) => tf.Tensor,
  inputs: tf.Tensor[],
  { epsilon = 1e-2, tolerance = 1e-2 }: GradientCheck = {},
): Promise<void> {
  const varied = inputs.flatMap((input, index) => (input.dtype === 'float32' ? [index] : []));
  const withVaried = (values: tf.Tensor[]) => inputs.map((input, index) => values[varied.indexOf(index)] ?? input);
  const analytic = tf.tidy(() =>
    tf.grads((...values: tf.Tensor[]) => {
      const output = f(...withVaried(values));
      return tf.sum(tf.mul(output, tf.tensor(weights(output.size), output.shape)));
    })(varied.map((index) => inputs[index]!)),
  );
  for (const [place, index] of varied.entries()) {
    const numeric = await centralDifferences(f, inputs, index, epsilon);
    try {
      await expectClose(analytic[place]!, numeric, tolerance);
    } catch (thrown) {
      throw new Error(`expectGradient: input ${index} of ${inputs.length}: ${(thrown as Error).message}`, {
        cause: thrown,
      });
    }
  }
  tf.dispose(analytic);
}

async function centralDifferences(
  f: (...inputs: tf.Tensor[]) => tf.Tensor,
  inputs: tf.Tensor[],
  index: number,
  epsilon: number,
): Promise<Float64Array> {
  const input = inputs[index]!;
  const values = Float32Array.from(await input.data());
  const slopes = new Float64Array(values.length);
  const valueWith = async (element: number, moved: number) => {
    const shifted = values.slice();
    shifted[element] = moved;
    const output = tf.tidy(() =>
      f(...inputs.map((other, place) => (place === index ? tf.tensor(shifted, input.shape) : other))),
    );
    const numbers = await output.data();
    output.dispose();
    return weights(numbers.length).reduce((sum, weight, i) => sum + weight * numbers[i]!, 0); // in float64
  };
  for (let element = 0; element < values.length; element++) {
    const above = Math.fround(values[element]! + epsilon);
    const below = Math.fround(values[element]! - epsilon);
    slopes[element] = ((await valueWith(element, above)) - (await valueWith(element, below))) / (above - below);
  }
  return slopes;
}

/** Fixed weights between -1 and 1 without a pattern that a swapped axis would keep. */
function weights(count: number): number[] {
  return Array.from({ length: count }, (_, i) => Math.fround(Math.sin(1 + 2.3 * i + 0.17 * i * i)));
}
