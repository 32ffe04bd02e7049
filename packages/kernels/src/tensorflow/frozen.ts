import type * as tf from '@tensorflow/tfjs-core';
import type { FrozenDtype } from '../frozen-matrix.js';
import type { Operands } from './operands.js';
import { firstRows, rowsOfGroups } from './products.js';
import { BFLOAT16, type DType, FLOAT, HALF, type Handle, INT8, type RawOps, UINT8 } from './raw-ops.js';

const TYPES: Readonly<Record<FrozenDtype, DType>> = { int8: INT8, bfloat16: BFLOAT16, float16: HALF };

interface Attrs {
  readonly dtype: FrozenDtype;
  readonly inputSize: number;
  readonly backward: boolean;
}

/**
 * Products with weights of fewer bytes. A packed matrix is float32 on TensorFlow's side, so that it lies on a GPU where
 * there is one. It is bit-cast, which copies nothing, and cast for the moment of its product where the product is of
 * another type: bfloat16 weights in a bfloat16 product are not. A stack of int8 is taken apart as uint8, which TensorFlow
 * can do on a GPU.
 */
export function installFrozen(ops: RawOps, operands: Operands): void {
  ops.register('ThawRows', ({ packed, scales, ids }, { dtype, inputSize }: Attrs) => {
    const rows = (x: tf.TensorInfo) => (ids ? ops.gather(ops.read(x), ops.read(ids)) : ops.read(x));
    const thawed = ops.cast(stored(ops, rows(packed!), TYPES[dtype]), FLOAT);
    const scaled = scales ? ops.mul(thawed, expandLast(ops, rows(scales))) : thawed;
    return ops.tensor(narrow(ops, scaled, inputSize));
  });

  ops.register('FrozenMatMul', ({ x, packed, scales }, attrs: Attrs) => {
    const type = operands.typeFor(attrs.inputSize, packed!.shape[0]!);
    const weight = stored(ops, ops.read(packed!), TYPES[attrs.dtype]);
    const rows = operands.read(x!, scales && attrs.backward ? FLOAT : type);
    return ops.tensor(multiply(ops, rows, weight, scales && ops.read(scales), type, attrs));
  });

  ops.register('GroupedFrozenMatMul', ({ x, packed, scales }, attrs: Attrs & { offsets: number[] }) => {
    const { inputSize, backward, offsets } = attrs;
    const outputSize = packed!.shape[1]!;
    const type = operands.typeFor(inputSize, outputSize);
    const apart = attrs.dtype === 'int8' ? UINT8 : TYPES[attrs.dtype];
    const weights = ops.unstack(stored(ops, ops.read(packed!), apart));
    const scalesOf = scales && ops.unstack(ops.read(scales));
    const rows = rowsOfGroups(ops, operands.read(x!, scales && backward ? FLOAT : type), offsets);
    const products = weights.flatMap((bytes, e) => {
      const count = offsets[e + 1]! - offsets[e]!;
      if (count === 0) return [];
      const weight = ops.bitcast(bytes, TYPES[attrs.dtype]);
      return [firstRows(ops, multiply(ops, rows[e]!, weight, scalesOf?.[e], type, attrs), count)];
    });
    const ungrouped = x!.shape[0]! - offsets.at(-1)!;
    if (ungrouped > 0 || products.length === 0)
      products.push(ops.fill([ungrouped, backward ? inputSize : outputSize], 0));
    return ops.tensor(ops.concat(products, 0));
  });
}

/** Packed rows in a type of theirs, `[..., words * weights per word]`: the same memory. */
function stored(ops: RawOps, packed: Handle, type: DType): Handle {
  const cast = ops.bitcast(packed, type);
  return ops.reshape(cast, [...packed.shape.slice(0, -1), packed.shape.at(-1)! * cast.shape.at(-1)!]);
}

/**
 * One product in `type` as float32. Scales multiply what there is less of than weights: outputs, or backward `x`, which
 * is rounded after that.
 */
function multiply(
  ops: RawOps,
  x: Handle,
  weight: Handle,
  scales: Handle | undefined,
  type: DType,
  { inputSize, backward }: Attrs,
): Handle {
  const [product] = ops.tidy(() => {
    const matrix = weight.dtype === type ? weight : ops.cast(weight, type);
    if (!backward) return [float(ops, ops.matMul(widen(ops, x, weight.shape[1]!), matrix, false, true))];
    const scaled = scales ? ops.cast(ops.mul(x, scales), type) : x;
    return [narrow(ops, float(ops, ops.matMul(scaled, matrix)), inputSize)];
  });
  return scales && !backward ? ops.mul(product!, scales) : product!;
}

function float(ops: RawOps, x: Handle): Handle {
  return x.dtype === FLOAT ? x : ops.cast(x, FLOAT);
}

/** Zero columns up to `width`, where a weight's rows are filled up to whole int32. */
function widen(ops: RawOps, x: Handle, width: number): Handle {
  const [rows, columns] = x.shape as [number, number];
  if (columns === width) return x;
  return ops.concat([x, ops.cast(ops.fill([rows, width - columns], 0), x.dtype)], 1);
}

/** The first `width` of the last axis. */
function narrow(ops: RawOps, x: Handle, width: number): Handle {
  const held = x.shape.at(-1)!;
  return held === width ? x : ops.splitV(x, [width, held - width], x.shape.length - 1)[0]!;
}

function expandLast(ops: RawOps, x: Handle): Handle {
  return ops.reshape(x, [...x.shape, 1]);
}
