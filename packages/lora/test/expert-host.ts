import { Linear, type LinearLayer, type StackedLayer, StackedLinear } from '@therapeutic-moe/nn';
import type { LinearHost, LinearSlot } from '../src/index.js';

/** A linear and the two stacks of three experts, `experts.gate_up_proj` 5 to 14 and `experts.down_proj` 7 to 5. */
export class ExpertHost implements LinearHost {
  #linear: LinearLayer = Linear.create(5, 3, { seed: 1 });
  readonly #stacks = new Map<string, StackedLayer>([
    ['experts.gate_up_proj', StackedLinear.create(3, 5, 14, { seed: 2 })],
    ['experts.down_proj', StackedLinear.create(3, 7, 5, { seed: 3 })],
  ]);

  linears(): ReadonlyMap<string, LinearSlot> {
    return new Map([['q_proj', { layer: this.#linear }]]);
  }

  replaceLinear(_: string, layer: LinearLayer): void {
    this.#linear = layer;
  }

  stacks(): ReadonlyMap<string, StackedLayer> {
    return this.#stacks;
  }

  replaceStack(path: string, stack: StackedLayer): void {
    this.#stacks.set(path, stack);
  }

  stack(path: string): StackedLayer {
    return this.#stacks.get(path)!;
  }

  dispose(): void {
    this.#linear.dispose();
    for (const stack of this.#stacks.values()) stack.dispose();
  }
}
