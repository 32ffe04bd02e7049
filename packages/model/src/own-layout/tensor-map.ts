import type { TensorPiece } from '../hugging-face/tensor-map.js';
import type { ModelConfig } from '../model-config.js';
import { bufferShapes, parameterShapes } from '../parameter-shapes.js';

/** Our own layout: every parameter and buffer as it stands, under its own path. */
export function ownTensorMap(config: ModelConfig): Map<string, TensorPiece[]> {
  const shapes = [...parameterShapes(config), ...bufferShapes(config)];
  return new Map(shapes.map(([name, { shape }]) => [name, [{ name, shape, start: 0 }]]));
}
