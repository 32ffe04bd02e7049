import type * as tf from '@tensorflow/tfjs-core';

/**
 * Reads a tensor's sizes by name and refuses another rank or a size that is not the expected one, so the documentation
 * of a shape is also its check.
 *
 * @param where what is being read, for the message: `'router.route: hidden'`.
 * @param names one name per dimension.
 * @param expected sizes that are known already.
 * @throws Error naming the expected and the actual shape.
 */
export function dims<Name extends string>(
  where: string,
  tensor: tf.Tensor,
  names: readonly Name[],
  expected: Partial<Record<Name, number>> = {},
): Record<Name, number> {
  const fits =
    tensor.rank === names.length && names.every((name, i) => (expected[name] ?? tensor.shape[i]) === tensor.shape[i]);
  if (!fits) {
    const wanted = names.map((name) => expected[name] ?? name).join(', ');
    throw new Error(`${where} must be [${wanted}], got [${tensor.shape.join(', ')}].`);
  }
  return Object.fromEntries(names.map((name, i) => [name, tensor.shape[i]])) as Record<Name, number>;
}
