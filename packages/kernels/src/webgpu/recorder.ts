import * as tf from '@tensorflow/tfjs-core';
import { MAIN, THREADS, threadsFor, type Workgroups } from './workgroups.js';

/**
 * What this package uses of tfjs-backend-webgpu 4.22: its device, its buffers and the compute pass it records into.
 * Private to tfjs, pinned by version.
 */
interface WebGpuBackend extends tf.KernelBackend {
  readonly device: GPUDevice;
  /** `dtype` is what the buffer holds: a cast from int32 to float32 leaves the integers in place. */
  readonly tensorMap: { get(dataId: object): { dtype: tf.DataType; values?: tf.BackendValues | null } };
  commandQueueOwnedIds: WeakSet<object>;
  commandEncoder: GPUCommandEncoder | null;
  computePassEncoder: GPUComputePassEncoder | null;
  dispatchCountInPass: number;
  makeTensorInfo(shape: readonly number[], dtype: tf.DataType, values?: tf.BackendValues): tf.TensorInfo;
  uploadToGPU(dataId: object): void;
  tensorToBinding(tensor: tf.TensorInfo): GPUBufferBinding;
  makeUniforms(uniforms: { type: 'uint32' | 'float32'; data: number[] }[]): GPUBufferBinding;
  ensureCommandEncoderReady(): void;
  endComputePassEncoder(): void;
  submitQueue(): void;
}

/** The element of a buffer as WGSL sees it. */
export type Element = 'f32' | 'vec4f' | 'i32';

/**
 * A compute shader and what it is bound to. Names become WGSL variables, the uniforms fields of `u`; the code must use
 * each of them, since an unused buffer has no place in the pipeline's layout.
 */
export interface Program {
  readonly name: string;
  readonly outputs: Readonly<Record<string, Element>>;
  readonly inputs: Readonly<Record<string, Element>>;
  readonly uniforms: Readonly<Record<string, 'u32' | 'f32'>>;
  /** WGSL with an entry point `main`. */
  readonly code: string;
}

/** The numbers of an integer buffer as floats. */
const widen: Program = {
  name: 'widen',
  outputs: { y: 'f32' },
  inputs: { x: 'i32' },
  uniforms: { size: 'u32' },
  code: `
${MAIN}
  let i = group * ${THREADS}u + l;
  if (i < u.size) { y[i] = f32(x[i]); }
}`,
};

/**
 * Records programs into the compute pass of one tfjs WebGPU backend, between tfjs's own. Owns the compiled pipelines.
 */
export class Recorder {
  readonly #backend: WebGpuBackend;
  readonly #pipelines = new Map<Program, GPUComputePipeline>();

  constructor(backend: tf.KernelBackend) {
    this.#backend = backend as WebGpuBackend;
  }

  /**
   * Runs one program; its outputs are new tensors, int32 where the program writes `i32`, or given ones. Without any input or output elements nothing runs and the outputs are zero,
   * since every program here sums over its inputs and WebGPU has no buffer of size 0.
   *
   * @param inputs tensors by the program's names, any order.
   * @param outputs shapes, or tensors to write into, by the program's names.
   * @param uniforms numbers by the program's names.
   * @returns the outputs in the program's order.
   */
  run(
    program: Program,
    inputs: Readonly<Record<string, tf.TensorInfo>>,
    outputs: Readonly<Record<string, readonly number[] | tf.TensorInfo>>,
    uniforms: Readonly<Record<string, number>>,
    workgroups: Workgroups,
  ): tf.TensorInfo[] {
    const targets = Object.entries(program.outputs).map(([name, element]) => this.#target(outputs[name]!, element));
    const sources = Object.entries(program.inputs).map(([name, element]) => this.#source(inputs[name]!, element));
    const bound = [...targets, ...sources.map(({ tensor }) => tensor)];
    if (bound.some(isEmpty)) for (const target of targets) this.#clear(target);
    else {
      this.#record(program, bound, uniforms, workgroups);
      for (const { dataId } of targets) this.#backend.tensorMap.get(dataId).values = null; // the host's copy is old now
    }
    for (const { tensor, temporary } of sources) if (temporary) this.dispose(tensor);
    return targets;
  }

  /** A float32 tensor of zeros, cleared on the device. */
  zeros(shape: readonly number[]): tf.TensorInfo {
    const tensor = this.#backend.makeTensorInfo(shape, 'float32');
    this.#clear(tensor);
    return tensor;
  }

  /** An int32 tensor of the host's numbers, which it keeps until it is first used. */
  upload(values: Int32Array): tf.TensorInfo {
    return this.#backend.makeTensorInfo([values.length], 'int32', values);
  }

  /** Gives a tensor of this recorder back, once the device is done with it. */
  dispose(tensor: tf.TensorInfo): void {
    this.#backend.disposeData(tensor.dataId);
  }

  #target(output: readonly number[] | tf.TensorInfo, element: Element): tf.TensorInfo {
    if ('dataId' in output) return output;
    return this.#backend.makeTensorInfo(output, element === 'i32' ? 'int32' : 'float32');
  }

  #source(tensor: tf.TensorInfo, element: Element): { tensor: tf.TensorInfo; temporary: boolean } {
    const stored = this.#backend.tensorMap.get(tensor.dataId).dtype;
    if (element === 'i32' || stored === 'float32') return { tensor, temporary: false };
    const size = tf.util.sizeFromShape(tensor.shape);
    const [widened] = this.run(widen, { x: tensor }, { y: tensor.shape }, { size }, threadsFor(size));
    return { tensor: widened!, temporary: true };
  }

  #clear(tensor: tf.TensorInfo): void {
    const backend = this.#backend;
    if (isEmpty(tensor)) {
      Object.assign(backend.tensorMap.get(tensor.dataId), { values: new Float32Array(0) });
      return;
    }
    backend.uploadToGPU(tensor.dataId);
    backend.commandQueueOwnedIds.add(tensor.dataId);
    backend.ensureCommandEncoderReady();
    backend.endComputePassEncoder();
    backend.commandEncoder!.clearBuffer(backend.tensorToBinding(tensor).buffer);
  }

  #record(
    program: Program,
    bound: readonly tf.TensorInfo[],
    uniforms: Readonly<Record<string, number>>,
    workgroups: Workgroups,
  ): void {
    const backend = this.#backend;
    const pipeline = this.#pipeline(program);
    for (const { dataId } of bound) {
      backend.uploadToGPU(dataId);
      backend.commandQueueOwnedIds.add(dataId); // not recycled before the queue is submitted
    }
    const values = Object.entries(program.uniforms).map(([name, type]) => ({
      type: type === 'u32' ? ('uint32' as const) : ('float32' as const),
      data: [uniforms[name]!],
    }));
    const resources = [...bound.map((tensor) => backend.tensorToBinding(tensor)), backend.makeUniforms(values)];
    const group = backend.device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: resources.map((resource, binding) => ({ binding, resource })),
    });
    backend.ensureCommandEncoderReady();
    backend.computePassEncoder ??= backend.commandEncoder!.beginComputePass();
    backend.computePassEncoder.setPipeline(pipeline);
    backend.computePassEncoder.setBindGroup(0, group);
    backend.computePassEncoder.dispatchWorkgroups(...workgroups);
    if (++backend.dispatchCountInPass >= tf.env().getNumber('WEBGPU_DEFERRED_SUBMIT_BATCH_SIZE')) {
      backend.endComputePassEncoder();
      backend.submitQueue();
    }
  }

  #pipeline(program: Program): GPUComputePipeline {
    const known = this.#pipelines.get(program);
    if (known) return known;
    const { device } = this.#backend;
    const module = device.createShaderModule({ code: declarations(program) + program.code, label: program.name });
    const pipeline = device.createComputePipeline({
      layout: 'auto',
      compute: { module, entryPoint: 'main' },
      label: program.name,
    });
    this.#pipelines.set(program, pipeline);
    return pipeline;
  }
}

/** The WGSL variables of a program, in the order in which `Recorder` binds them. */
function declarations({ outputs, inputs, uniforms }: Program): string {
  const buffers = [
    ...Object.entries(outputs).map(([name, element]) => `var<storage, read_write> ${name}: array<${element}>;`),
    ...Object.entries(inputs).map(([name, element]) => `var<storage, read> ${name}: array<${element}>;`),
  ];
  const fields = Object.entries(uniforms).map(([name, type]) => `${name}: ${type}`);
  return [`struct Uniforms { ${fields.join(', ')} }`, ...[...buffers, 'var<uniform> u: Uniforms;'].map(bindAt)].join(
    '\n',
  );
}

function bindAt(variable: string, binding: number): string {
  return `@group(0) @binding(${binding}) ${variable}`;
}

function isEmpty({ shape }: tf.TensorInfo): boolean {
  return tf.util.sizeFromShape(shape) === 0;
}
