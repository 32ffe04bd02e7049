import type { FrozenMatrix } from '@therapeutic-moe/kernels';
import {
  FrozenEmbedding,
  FrozenLinear,
  FrozenStackedLinear,
  filledVariable,
  type LayerFactory,
} from '@therapeutic-moe/nn';

/**
 * Layers of weights that are never trained; biases beside them are zero variables.
 *
 * @param matrices by the paths that their variables would have; the layers own them.
 */
export function frozenLayers(matrices: ReadonlyMap<string, FrozenMatrix>): LayerFactory {
  return {
    linear: (path, inputSize, outputSize, { bias }) => {
      const weight = matrixAt(matrices, `${path}.weight`, [outputSize, inputSize]);
      return new FrozenLinear(weight, bias ? filledVariable([outputSize], 0) : undefined);
    },
    stacked: (path, ...[experts, inputSize, outputSize]) =>
      new FrozenStackedLinear(matrixAt(matrices, path, [experts, outputSize, inputSize])),
    embedding: (path, ...sizes) => {
      const [vocabSize, hiddenSize] = sizes;
      return new FrozenEmbedding(matrixAt(matrices, `${path}.weight`, [vocabSize, hiddenSize]));
    },
  };
}

function matrixAt(matrices: ReadonlyMap<string, FrozenMatrix>, path: string, wanted: readonly number[]): FrozenMatrix {
  const matrix = matrices.get(path);
  if (!matrix) throw new Error(`frozen model: there is no weight for ${path} [${wanted}].`);
  const found = [...matrix.packed.shape.slice(0, -1), matrix.inputSize];
  if (found.join() !== wanted.join())
    throw new Error(`frozen model: ${path} must have rows [${wanted}] by the config, got [${found}].`);
  return matrix;
}
