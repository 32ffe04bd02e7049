import type { SharedExpert, SwiGluExperts } from '@therapeutic-moe/experts';
import type { LinearSlot } from '@therapeutic-moe/lora';
import type { LinearLayer, StackedLayer } from '@therapeutic-moe/nn';

/** A linear of a model, and how another is put in its place. */
export interface OwnedLinear extends LinearSlot {
  replace(layer: LinearLayer): void;
}

/** A stack of expert matrices of a model, likewise. */
export interface OwnedStack {
  readonly stack: StackedLayer;
  replace(stack: StackedLayer): void;
}

/** What has the two linears of a gated feed-forward, gate and up side by side. */
interface GatedParts {
  gateUp: LinearLayer;
  down: LinearLayer;
}

/** The three linears of a gated feed-forward under Hugging Face's names; gate and up share one of ours. */
export function gatedLinears(prefix: string, parts: GatedParts): Map<string, OwnedLinear> {
  const { gateUp, down } = parts;
  const size = gateUp.outputSize / 2;
  const half = (start: number): OwnedLinear => ({
    layer: gateUp,
    columns: { start, size },
    replace: (layer) => {
      parts.gateUp = layer;
    },
  });
  return new Map([
    [`${prefix}.gate_proj`, half(0)],
    [`${prefix}.up_proj`, half(size)],
    [
      `${prefix}.down_proj`,
      {
        layer: down,
        replace: (layer) => {
          parts.down = layer;
        },
      },
    ],
  ]);
}

/** The linears of a shared expert, and its gate if it has one. */
export function sharedLinears(shared: SharedExpert): Map<string, OwnedLinear> {
  const linears = gatedLinears('mlp.shared_expert', shared);
  if (!shared.gate) return linears;
  const replace = (layer: LinearLayer) => {
    shared.gate = layer;
  };
  return linears.set('mlp.shared_expert_gate', { layer: shared.gate, replace });
}

/** The two stacks of gated experts, in the order in which transformers has them. */
export function expertStacks(experts: SwiGluExperts): Map<string, OwnedStack> {
  return new Map([
    [
      'mlp.experts.gate_up_proj',
      {
        stack: experts.gateUp,
        replace: (stack) => {
          experts.gateUp = stack;
        },
      },
    ],
    [
      'mlp.experts.down_proj',
      {
        stack: experts.down,
        replace: (stack) => {
          experts.down = stack;
        },
      },
    ],
  ]);
}
