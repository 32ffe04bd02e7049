import { packRows } from '@therapeutic-moe/checkpoint';
import { type FrozenDtype, frozenMatrix } from '@therapeutic-moe/kernels';
import { CausalLm, type ModelConfig } from '../src/index.js';
import { frozenShapes } from '../src/parameter-shapes.js';

/** A model of made-up frozen weights; norms and routers are zero. Caller disposes. */
export function frozenModel(config: ModelConfig, dtype: FrozenDtype): CausalLm {
  const matrices = [...frozenShapes(config)].map(([path, { shape, frozenAs }]) => {
    const rows = frozenAs === 'rows' ? shape : [...shape.slice(0, -2), shape.at(-1)!, shape.at(-2)!];
    const values = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => 0.05 * Math.sin(i));
    const packed = packRows(values, [values.length / rows.at(-1)!, rows.at(-1)!], dtype);
    return [path, frozenMatrix(packed, rows, dtype)] as const;
  });
  return CausalLm.frozen(config, new Map(matrices));
}
