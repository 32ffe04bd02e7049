import type * as tf from '@tensorflow/tfjs-core';
import { inFloat32 } from '../float32-products.js';
import { BFLOAT16, FLOAT, type Handle, type RawOps } from './raw-ops.js';

/** What the large products compute with; sums are float32 in both. */
export type Precision = 'float32' | 'bfloat16';

/**
 * A product with a side shorter than this stays float32 under `bfloat16`: it is cheap.
 */
const SHORTEST_SIDE = 128;

/**
 * The operands of products, as they are or rounded to bfloat16. A rounded copy is kept while its tensor's data live: a
 * weight is rounded once, and what the backward pass multiplies again is rounded once too.
 */
export class Operands {
  private precision: Precision = 'float32';
  private readonly rounded = new Map<object, Handle>();

  constructor(private readonly ops: RawOps) {
    const { backend } = ops;
    const dispose = backend.disposeData.bind(backend);
    backend.disposeData = (dataId, force) => {
      const gone = dispose(dataId, force);
      if (gone) this.forget(dataId);
      return gone;
    };
  }

  /** Sets the precision of all products from now on. */
  use(precision: Precision): void {
    this.precision = precision;
    if (precision === 'float32') for (const dataId of [...this.rounded.keys()]) this.forget(dataId);
  }

  /** The type that a product of these sides has its operands in. */
  typeFor(...sides: number[]): typeof FLOAT | typeof BFLOAT16 {
    return this.precision === 'bfloat16' && !inFloat32() && Math.min(...sides) >= SHORTEST_SIDE ? BFLOAT16 : FLOAT;
  }

  /** A tensor as operand. */
  read(x: tf.TensorInfo, type: typeof FLOAT | typeof BFLOAT16): Handle {
    if (type === FLOAT) return this.ops.read(x);
    const known = this.rounded.get(x.dataId);
    if (known) return known;
    const rounded = this.ops.keep(this.ops.cast(this.ops.read(x), BFLOAT16));
    this.rounded.set(x.dataId, rounded);
    return rounded;
  }

  /** A product as float32. */
  result(product: Handle): Handle {
    return product.dtype === FLOAT ? product : this.ops.cast(product, FLOAT);
  }

  /** Frees the rounded copy of data that were written in place or are gone. */
  forget(dataId: object): void {
    const handle = this.rounded.get(dataId);
    if (!handle) return;
    this.rounded.delete(dataId);
    this.ops.backend.binding.deleteTensor(handle.id);
  }
}
