import * as tf from '@tensorflow/tfjs-core';
import type { LoraAdapter } from './adapter.js';
import { type LinearHost, stacksOf } from './linear-host.js';
import type { LoraPlan } from './lora-plan.js';

/** How a factor lies in PEFT's files. */
interface Layout {
  /** The file's shape for one of ours. */
  shapeOf(ours: readonly number[]): number[];
  /** @returns the same values as the file has them. Caller disposes. */
  toFile(factor: tf.Tensor): tf.Tensor;
  /** @param ours the shape here. @returns the same values as we have them. Caller disposes. */
  fromFile(values: Float32Array, ours: readonly number[]): tf.Tensor;
}

/** A matrix is transposed there, a vector as it is. */
const matrix: Layout = {
  shapeOf: (ours) => [...ours].reverse(),
  toFile: (factor) => tf.transpose(factor),
  fromFile: (values, ours) => tf.tidy(() => tf.transpose(tf.tensor(values, matrix.shapeOf(ours)))),
};

/** A of a stack, `[experts, in, r]` here, is `[experts * r, in]` there, expert by expert. */
const stackedA: Layout = {
  shapeOf: ([experts, inputSize, r]) => [experts! * r!, inputSize!],
  toFile: (a) => tf.tidy(() => tf.reshape(tf.transpose(a, [0, 2, 1]), stackedA.shapeOf(a.shape))),
  fromFile: (values, [experts, inputSize, r]) =>
    tf.tidy(() => tf.transpose(tf.tensor3d(values, [experts!, r!, inputSize!]), [0, 2, 1])),
};

/** B of a stack, `[experts, r, out]` here, is `[out, r * experts]` there, rank by rank. */
const stackedB: Layout = {
  shapeOf: ([experts, r, outputSize]) => [outputSize!, r! * experts!],
  toFile: (b) => tf.tidy(() => tf.reshape(tf.transpose(b, [2, 1, 0]), stackedB.shapeOf(b.shape))),
  fromFile: (values, [experts, r, outputSize]) =>
    tf.tidy(() => tf.transpose(tf.tensor3d(values, [outputSize!, r!, experts!]), [2, 1, 0])),
};

/** One factor of an adapter and its tensor in PEFT's file. */
export interface FileFactor {
  /** PEFT's name. */
  readonly name: string;
  readonly layout: Layout;
  /** What is read and trained. */
  readonly variable: tf.Variable;
  /** What is written, where that is more than the variable: `[A, A0]`. Ask within a tidy. */
  readonly written?: { readonly shape: readonly number[]; value(): tf.Tensor };
}

/** All factors of an adapter, as PEFT writes them. */
export function fileFactors({ layers, stacks }: LoraAdapter): FileFactor[] {
  const factors: FileFactor[] = [];
  for (const [path, update] of layers) {
    const { a, b, rank, magnitude } = update;
    const of = (name: string, variable: tf.Variable): FileFactor => ({
      ...{ name: peftName(`${path}.${name}`), layout: matrix, variable },
    });
    factors.push(
      { ...of('lora_A', a), written: { shape: [a.shape[0]!, rank], value: () => update.down() } },
      { ...of('lora_B', b), written: { shape: [rank, b.shape[1]!], value: () => update.up() } },
      ...(magnitude ? [of('lora_magnitude_vector', magnitude.vector)] : []),
    );
  }
  for (const [path, { a, b }] of stacks) {
    const module = stackName(path, [...stacks.keys()]);
    factors.push(
      { name: peftName(`${module}.lora_A`), layout: stackedA, variable: a },
      { name: peftName(`${module}.lora_B`), layout: stackedB, variable: b },
    );
  }
  return factors;
}

/** Shapes of tensors in PEFT's file, by its names. */
export interface FileShapes {
  readonly factors: ReadonlyMap<string, readonly number[]>;
  /** The adapted linears themselves, which PEFT saves too where their adapter is on the head. */
  readonly bases: ReadonlyMap<string, readonly number[]>;
}

/** What the file of an adapter holds. */
export function fileShapes(adapter: LoraAdapter): FileShapes {
  const factors = fileFactors(adapter).map(
    ({ name, layout, variable }) => [name, layout.shapeOf(variable.shape)] as const,
  );
  const bases = [...adapter.layers].map(([path, { a, b }]) => [baseName(path), [b.shape[1]!, a.shape[0]!]] as const);
  return { factors: new Map(factors), bases: new Map(bases) };
}

/** The same of one that is not made yet. */
export function plannedShapes(host: LinearHost, plan: LoraPlan): FileShapes {
  const [slots, stacks] = [host.linears(), stacksOf(host)];
  const [factors, bases] = [new Map<string, readonly number[]>(), new Map<string, readonly number[]>()];
  for (const [path, { r, useDora }] of plan.linears) {
    const { layer, columns } = slots.get(path)!;
    const [inputs, outputs] = [layer.inputSize, columns?.size ?? layer.outputSize];
    factors.set(peftName(`${path}.lora_A`), matrix.shapeOf([inputs, r]));
    factors.set(peftName(`${path}.lora_B`), matrix.shapeOf([r, outputs]));
    if (useDora) factors.set(peftName(`${path}.lora_magnitude_vector`), matrix.shapeOf([outputs]));
    bases.set(baseName(path), [outputs, inputs]);
  }
  for (const [path, { r }] of plan.stacks) {
    const { experts, inputSize, outputSize } = stacks.get(path)!;
    const module = stackName(path, [...plan.stacks.keys()]);
    factors.set(peftName(`${module}.lora_A`), stackedA.shapeOf([experts, inputSize, r]));
    factors.set(peftName(`${module}.lora_B`), stackedB.shapeOf([experts, r, outputSize]));
  }
  return { factors, bases };
}

/** The name of an adapted linear itself. */
export function baseName(path: string): string {
  return peftName(`${path}.base_layer`);
}

/** `a.b.lora_A` as PEFT names it in `adapter_model.safetensors`; DoRA's vector is no module's weight there. */
export function peftName(path: string): string {
  return `base_model.model.${path}${path.endsWith('.lora_magnitude_vector') ? '' : '.weight'}`;
}

/**
 * PEFT wraps a module once for each of its parameters that is adapted, the first innermost, and names a wrapper after the
 * module: the last parameter is the module itself, and those before it lie in one more `base_layer` each.
 */
function stackName(path: string, paths: readonly string[]): string {
  const moduleOf = (each: string) => each.slice(0, each.lastIndexOf('.'));
  const siblings = paths.filter((each) => moduleOf(each) === moduleOf(path));
  return `${moduleOf(path)}${'.base_layer'.repeat(siblings.length - 1 - siblings.indexOf(path))}`;
}
