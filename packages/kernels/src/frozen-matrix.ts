import * as tf from '@tensorflow/tfjs-core';

/** What a frozen weight is stored as: whole numbers with a scale for each output, or float32's upper half, or IEEE's half. */
export type FrozenDtype = 'int8' | 'bfloat16' | 'float16';

/**
 * A weight that is never trained, in half the bytes of float32 or a quarter, output-major as in the files of Hugging Face.
 * Row `o` holds the weights of output `o` one behind the other, the first in the lowest bytes of a word of 4 bytes. The
 * rest of the last word is zero. A type, so that `tf.tidy` can return it.
 */
export type FrozenMatrix = {
  readonly dtype: FrozenDtype;
  /** How many weights a row has. */
  readonly inputSize: number;
  /** `[outputSize, words]`, or `[experts, outputSize, words]`: int32, and on tensorflow float32 of the same bytes, no numbers. */
  readonly packed: tf.Tensor;
  /** Of int8 alone: `[outputSize]` or `[experts, outputSize]`. A weight is its scale times a whole number from -127 to 127. */
  readonly scales?: tf.Tensor;
};

/** How many weights lie in a word of 4 bytes. */
export const WEIGHTS_PER_WORD: Readonly<Record<FrozenDtype, number>> = { int8: 4, bfloat16: 2, float16: 2 };

/** How many words a row of `inputSize` weights takes. */
export function wordsPerRow(inputSize: number, dtype: FrozenDtype): number {
  return Math.ceil(inputSize / WEIGHTS_PER_WORD[dtype]);
}

/**
 * Puts packed rows, of a file or of `packRows` in `@therapeutic-moe/checkpoint`, on the device as they are.
 *
 * @param rows int32 `[outputSize, words]` or `[experts, outputSize, words]`, with a scale for each row if they are int8.
 * @param shape of the weights: `[outputSize, inputSize]` or `[experts, outputSize, inputSize]`.
 * @returns a matrix that the caller disposes (`tf.dispose` takes it).
 * @throws when the numbers are not as many as the shape says.
 */
export function frozenMatrix(
  { packed, scales }: { readonly packed: Int32Array; readonly scales?: Float32Array },
  shape: readonly number[],
  dtype: FrozenDtype,
): FrozenMatrix {
  const [outer, inputSize] = [shape.slice(0, -1), shape.at(-1)!];
  const words = [...outer, wordsPerRow(inputSize, dtype)];
  const expected = tf.util.sizeFromShape(words);
  if (packed.length !== expected) {
    throw new Error(
      `frozenMatrix: expected ${expected} int32 for ${dtype} [${shape}], got ${packed.length}; rows are filled up to whole int32.`,
    );
  }
  const made = { dtype, inputSize, packed: upload(packed, words) };
  return scales ? { ...made, scales: tf.tensor(scales, outer, 'float32') } : made;
}

/** What words lie in. TensorFlow keeps int32 in the host's memory, and float32 on a GPU where it has one. */
function wordDtype(): 'int32' | 'float32' {
  return tf.getBackend() === 'tensorflow' ? 'float32' : 'int32';
}

/** Not through `tf.tensor`, which in debug mode refuses words that read as NaN. */
function upload(words: Int32Array, shape: number[]): tf.Tensor {
  const dtype = wordDtype();
  const values = dtype === 'int32' ? words : new Float32Array(words.buffer, words.byteOffset, words.length);
  return tf.engine().makeTensor(values, shape, dtype);
}

/** The words of a packed tensor on the host, whatever they lie in: never read them as numbers, which may change a NaN. */
export function packedWords(packed: tf.Tensor): Int32Array {
  const { buffer, byteOffset, length } = packed.dataSync<'float32'>();
  return new Int32Array(buffer, byteOffset, length);
}

/** What kernels take of a frozen matrix: tensors as inputs, the rest as attributes. */
export function frozenInputs({ packed, scales }: FrozenMatrix): Record<string, tf.Tensor> {
  return scales ? { packed, scales } : { packed };
}

/**
 * Kernels read by address: what does not fit would be read from another tensor's memory.
 *
 * @param where the caller's name, for the message.
 * @param ranks the ranks of `packed` that it takes.
 */
export function checkFrozen(where: string, { dtype, inputSize, packed, scales }: FrozenMatrix, ranks: number[]): void {
  if (!Object.hasOwn(WEIGHTS_PER_WORD, dtype)) {
    throw new Error(`${where}: dtype must be one of ${Object.keys(WEIGHTS_PER_WORD).join(', ')}, got '${dtype}'.`);
  }
  if (!Number.isInteger(inputSize) || inputSize < 1) {
    throw new Error(`${where}: inputSize must be a whole number from 1, got ${inputSize}.`);
  }
  const words = wordsPerRow(inputSize, dtype);
  if (packed.dtype !== wordDtype() || !ranks.includes(packed.rank) || packed.shape.at(-1) !== words) {
    const lead = ranks.includes(2) ? '[outputSize' : '[experts, outputSize';
    throw new Error(
      `${where}: packed must be ${wordDtype()} ${lead}, ${words}] for ${inputSize} ${dtype} a row, got ${packed.dtype} [${packed.shape}]; make it with frozenMatrix on the backend that runs.`,
    );
  }
  checkScales(where, dtype, packed.shape.slice(0, -1), scales);
}

function checkScales(where: string, dtype: FrozenDtype, outer: readonly number[], scales: tf.Tensor | undefined): void {
  if (dtype !== 'int8') {
    if (scales) throw new Error(`${where}: ${dtype} has no scales, got [${scales.shape}]; only int8 has.`);
    return;
  }
  if (scales?.dtype !== 'float32' || scales.shape.join() !== outer.join()) {
    const got = scales ? `${scales.dtype} [${scales.shape}]` : 'none';
    throw new Error(`${where}: int8 needs float32 scales [${outer}], one for each row of packed, got ${got}.`);
  }
}

/** TensorFlow.js takes integers through float32 on WebGPU, which cannot hold four bytes: there is no plain form. */
export function refuseWebGpu(where: string): void {
  if (tf.getBackend() === 'webgpu') {
    throw new Error(`${where}: the WebGPU kernels are not installed; call installKernels('webgpu') first.`);
  }
}
