import type * as tf from '@tensorflow/tfjs-core';
import { replaceKernel } from '../replace-kernel.js';

/** TensorFlow's number of a data type. bfloat16, half and the 8-bit ones have none in tfjs and live only on TensorFlow's side. */
export type DType = number;

/** A tensor on TensorFlow's side. */
export interface Handle {
  readonly id: number;
  readonly shape: readonly number[];
  readonly dtype: DType;
}

/** An attribute of a TensorFlow op. */
export interface Attribute {
  readonly name: string;
  readonly type: number;
  readonly value: unknown;
}

/** What this package uses of tfjs-node's backend: its binding runs any TensorFlow op. Private to tfjs 4.22. */
export interface NodeBackend extends tf.KernelBackend {
  readonly binding: {
    readonly TF_ATTR_BOOL: number;
    readonly TF_ATTR_INT: number;
    readonly TF_ATTR_SHAPE: number;
    readonly TF_ATTR_STRING: number;
    readonly TF_ATTR_TYPE: number;
    executeOp(name: string, attributes: readonly Attribute[], inputs: readonly number[], outputs: number): Handle[];
    createTensor(shape: readonly number[], dtype: DType, values: tf.TypedArray): number;
    deleteTensor(id: number): void;
  };
  readonly tensorMap: { get(dataId: object): { id: number } };
  getInputTensorIds(tensors: tf.TensorInfo[]): number[];
  createOutputTensor(handle: Handle): tf.Tensor;
  disposeData(dataId: object, force?: boolean): boolean;
}

export const FLOAT = 1;
export const INT32 = 3;
export const UINT8 = 4;
export const INT8 = 6;
export const COMPLEX64 = 8;
export const BFLOAT16 = 14;
export const HALF = 19;

/**
 * TensorFlow's own ops on the handles of tfjs-node. Handles made while a kernel runs are freed when it ends, so a kernel
 * only says what it returns.
 */
export class RawOps {
  private readonly made: number[] = [];

  constructor(readonly backend: NodeBackend) {}

  /** Registers a kernel of ours that works on handles. */
  register(name: string, run: (inputs: Record<string, tf.TensorInfo>, attrs: never) => tf.Tensor | tf.Tensor[]): void {
    replaceKernel(name, 'tensorflow', ({ inputs, attrs }) =>
      this.scope(() => run(inputs as Record<string, tf.TensorInfo>, attrs as never)),
    );
  }

  /** Runs `work` and frees the handles it made, except those it took with `tensor` or `keep`. */
  scope<T>(work: () => T): T {
    const before = this.made.length;
    try {
      return work();
    } finally {
      for (const id of this.made.splice(before)) this.backend.binding.deleteTensor(id);
    }
  }

  /** Any op with one result. */
  run(name: string, inputs: readonly Handle[], attributes: readonly Attribute[] = [this.type('T', FLOAT)]): Handle {
    return this.runMany(name, inputs, attributes, 1)[0]!;
  }

  /** Any op. */
  runMany(name: string, inputs: readonly Handle[], attributes: readonly Attribute[], outputs: number): Handle[] {
    const ids = inputs.map(({ id }) => id);
    const results = this.backend.binding.executeOp(name, attributes, ids, outputs);
    for (const { id } of results) this.made.push(id);
    return results;
  }

  /** Like `scope`, for a part of a kernel: what it returns lives on in the scope around. */
  tidy<T extends readonly Handle[]>(work: () => T): T {
    const results = this.scope(() => {
      const handles = work();
      for (const handle of handles) this.keep(handle);
      return handles;
    });
    for (const { id } of results) this.made.push(id);
    return results;
  }

  /** Frees a handle before its scope ends. */
  free(handle: Handle): void {
    this.backend.binding.deleteTensor(this.keep(handle).id);
  }

  /** The handle of a tensor; it stays the tensor's. */
  read(x: tf.TensorInfo): Handle {
    const dtype = x.dtype === 'int32' ? INT32 : FLOAT;
    return { id: this.backend.getInputTensorIds([x])[0]!, shape: x.shape, dtype };
  }

  /** Takes a handle out of the scope it was made in. */
  keep(handle: Handle): Handle {
    const at = this.made.lastIndexOf(handle.id);
    if (at < 0) throw new Error(`tensorflow kernels: handle ${handle.id} was not made in this scope.`);
    this.made.splice(at, 1);
    return handle;
  }

  /** A handle as tensor, which owns it from now on. */
  tensor(handle: Handle): tf.Tensor {
    return this.backend.createOutputTensor(this.keep(handle));
  }

  int32(values: number | readonly number[], shape?: readonly number[]): Handle {
    if (typeof values === 'number') return this.upload(Int32Array.of(values), [], INT32);
    return this.upload(Int32Array.from(values), shape ?? [values.length], INT32);
  }

  int32s(values: Int32Array): Handle {
    return this.upload(values, [values.length], INT32);
  }

  float32(value: number): Handle {
    return this.upload(Float32Array.of(value), [], FLOAT);
  }

  floats(values: Float32Array, shape: readonly number[]): Handle {
    return this.upload(values, shape, FLOAT);
  }

  private upload(values: tf.TypedArray, shape: readonly number[], dtype: DType): Handle {
    const id = this.backend.binding.createTensor(shape, dtype, values);
    this.made.push(id);
    return { id, shape, dtype };
  }

  type(name: string, value: DType): Attribute {
    return { name, type: this.backend.binding.TF_ATTR_TYPE, value };
  }

  bool(name: string, value: boolean): Attribute {
    return { name, type: this.backend.binding.TF_ATTR_BOOL, value };
  }

  int(name: string, value: number): Attribute {
    return { name, type: this.backend.binding.TF_ATTR_INT, value };
  }

  add(a: Handle, b: Handle): Handle {
    return this.run('AddV2', [a, b]);
  }

  sub(a: Handle, b: Handle): Handle {
    return this.run('Sub', [a, b]);
  }

  mul(a: Handle, b: Handle): Handle {
    return this.run('Mul', [a, b]);
  }

  cast(x: Handle, dtype: DType): Handle {
    return this.run('Cast', [x], [this.type('SrcT', x.dtype), this.type('DstT', dtype), this.bool('Truncate', false)]);
  }

  /** The same bytes as another type, without a copy; a smaller one adds a last axis, a larger one takes it away. */
  bitcast(x: Handle, dtype: DType): Handle {
    if (x.dtype === dtype) return x;
    return this.run('Bitcast', [x], [this.type('T', x.dtype), this.type('type', dtype)]);
  }

  /** The same numbers under another shape, without a copy. */
  reshape(x: Handle, shape: readonly number[]): Handle {
    return this.run('Reshape', [x, this.int32(shape)], [this.type('T', x.dtype), this.type('Tshape', INT32)]);
  }

  transpose(x: Handle, permutation: readonly number[]): Handle {
    return this.run('Transpose', [x, this.int32(permutation)], [this.type('T', x.dtype), this.type('Tperm', INT32)]);
  }

  /** A sum, or another reduction by its name, over one axis, which stays with size 1. */
  reduce(name: 'Sum' | 'Max' | 'EuclideanNorm', x: Handle, axis: number): Handle {
    return this.run(
      name,
      [x, this.int32(axis)],
      [this.type('T', x.dtype), this.type('Tidx', INT32), this.bool('keep_dims', true)],
    );
  }

  /** Equal parts along an axis. */
  split(x: Handle, parts: number, axis: number): Handle[] {
    return this.runMany('Split', [this.int32(axis), x], [this.type('T', x.dtype), this.int('num_split', parts)], parts);
  }

  /** Parts of the given sizes along an axis. Along axis 0 they share the memory of `x` where addresses are aligned. */
  splitV(x: Handle, sizes: readonly number[], axis: number): Handle[] {
    const attributes = [this.type('T', x.dtype), this.type('Tlen', INT32), this.int('num_split', sizes.length)];
    return this.runMany('SplitV', [x, this.int32(sizes), this.int32(axis)], attributes, sizes.length);
  }

  concat(parts: readonly Handle[], axis: number): Handle {
    if (parts.length === 1) return parts[0]!;
    return this.run(
      'ConcatV2',
      [...parts, this.int32(axis)],
      [this.type('T', parts[0]!.dtype), this.type('Tidx', INT32), this.int('N', parts.length)],
    );
  }

  /** The matrices of a stack, which share its memory where their addresses are aligned. */
  unstack(x: Handle): Handle[] {
    const count = x.shape[0]!;
    return this.runMany('Unpack', [x], [this.type('T', x.dtype), this.int('num', count), this.int('axis', 0)], count);
  }

  stack(parts: readonly Handle[]): Handle {
    return this.run('Pack', parts, [this.type('T', parts[0]!.dtype), this.int('N', parts.length), this.int('axis', 0)]);
  }

  /** Rows of `x` by number. */
  gather(x: Handle, indices: Handle): Handle {
    return this.run(
      'GatherV2',
      [x, indices, this.int32(0)],
      [
        this.type('Tparams', x.dtype),
        this.type('Tindices', INT32),
        this.type('Taxis', INT32),
        this.int('batch_dims', 0),
      ],
    );
  }

  fill(shape: readonly number[], value: number): Handle {
    return this.run(
      'Fill',
      [this.int32(shape), this.float32(value)],
      [this.type('T', FLOAT), this.type('index_type', INT32)],
    );
  }

  /** Of two matrices. */
  matMul(a: Handle, b: Handle, transposeA = false, transposeB = false): Handle {
    return this.run(
      'MatMul',
      [a, b],
      [this.bool('transpose_a', transposeA), this.bool('transpose_b', transposeB), this.type('T', a.dtype)],
    );
  }

  /** Of two stacks of matrices with the same leading dimensions. */
  batchMatMul(a: Handle, b: Handle, transposeA = false, transposeB = false): Handle {
    return this.run(
      'BatchMatMulV2',
      [a, b],
      [this.bool('adj_x', transposeA), this.bool('adj_y', transposeB), this.type('T', a.dtype)],
    );
  }
}
