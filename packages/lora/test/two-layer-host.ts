import { Linear, type LinearLayer } from '@therapeutic-moe/nn';
import type { LinearHost, LinearSlot } from '../src/index.js';

/** The smallest thing an adapter can be put on: `layers.{0,1}.{q_proj,v_proj}`, each 5 to 3, with a bias on v. */
export class TwoLayerHost implements LinearHost {
  readonly #linears: Map<string, LinearLayer>;

  constructor({ inputSize = 5, layers = 2 }: { inputSize?: number; layers?: number } = {}) {
    this.#linears = new Map(
      Array.from({ length: layers }, (_, i): [string, LinearLayer][] => [
        [`layers.${i}.q_proj`, Linear.create(inputSize, 3, { seed: 2 * i + 1 })],
        [`layers.${i}.v_proj`, Linear.create(inputSize, 3, { bias: true, seed: 2 * i + 2 })],
      ]).flat(),
    );
  }

  linears(): ReadonlyMap<string, LinearSlot> {
    return new Map([...this.#linears].map(([path, layer]) => [path, { layer }]));
  }

  replaceLinear(path: string, layer: LinearLayer): void {
    this.#linears.set(path, layer);
  }

  linear(path: string): LinearLayer {
    return this.#linears.get(path)!;
  }

  dispose(): void {
    for (const linear of this.#linears.values()) linear.dispose();
  }
}
