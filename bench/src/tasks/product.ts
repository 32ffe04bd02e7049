import * as tf from '@tensorflow/tfjs-core';
import { type BackendName, useBackend } from '@therapeutic-moe/backend';
import { flashAttention, groupedMatMul, matMul } from '@therapeutic-moe/kernels';
import type { Timing } from '../comparison.js';
import type { Product } from '../mat-mul.js';
import { measure } from '../measure.js';
import { useStockWasm } from '../naive/stock-wasm.js';
import { throughDevice } from './through-device.js';

/** One product; on `stock-wasm` our kernels are not installed, and the same functions run their plain forms. */
export async function runProduct({
  product,
  backend,
  repeats,
}: {
  readonly product: Product;
  readonly backend: BackendName | 'stock-wasm';
  readonly repeats: number;
}): Promise<Timing> {
  if (backend === 'stock-wasm') await useStockWasm();
  else await useBackend(backend);
  const compute = prepare(product);
  const work = async () => {
    const results = compute();
    await throughDevice(results[0]);
    tf.dispose(results);
  };
  return measure(work, { repeats, warmUp: 2, atLeastMs: 300 });
}

/** Makes the operands and returns what is timed. */
function prepare(product: Product): () => tf.Tensor[] {
  switch (product.kind) {
    case 'mat-mul': {
      const { batch, m, k, n, transposeA, transposeB } = product;
      const lead = batch === 1 ? [] : [batch];
      const a = random([...lead, ...(transposeA ? [k, m] : [m, k])]);
      const b = random([...lead, ...(transposeB ? [n, k] : [k, n])]);
      return () => [matMul(a, b, transposeA, transposeB)];
    }
    case 'grouped': {
      const { rows, experts, k, n } = product;
      const x = random([rows, k]) as tf.Tensor2D;
      const weights = random([experts, k, n]) as tf.Tensor3D;
      const offsets = Array.from({ length: experts + 1 }, (_, i) => Math.round((i * rows) / experts));
      return () => [groupedMatMul(x, weights, offsets)];
    }
    case 'attention': {
      const { batch, seq, heads, headDim, backward } = product;
      const [q, k, v] = [1, 2, 3].map(() => random([batch, seq, heads, headDim]) as tf.Tensor4D);
      const attend = (q: tf.Tensor4D, k: tf.Tensor4D, v: tf.Tensor4D) =>
        flashAttention(q, k, v, { causal: true, scale: headDim ** -0.5 });
      if (!backward) return () => [attend(q, k, v)];
      const dy = tf.ones(q.shape);
      return () => tf.grads((...x) => attend(...(x as [tf.Tensor4D, tf.Tensor4D, tf.Tensor4D])))([q, k, v], dy);
    }
  }
}

function random(shape: number[]): tf.Tensor {
  return tf.randomNormal(shape, 0, 1, 'float32', 7);
}
