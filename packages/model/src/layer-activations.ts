import type { LoraConfig } from '@therapeutic-moe/lora';
import { type AdaptedLinear, adapterActivations } from './adapter-activations.js';
import { expertSize, isMixtureLayer } from './mixture-layers.js';
import type { ModelConfig } from './model-config.js';

/** Numbers that a layer holds of each token until a training step ends. */
export interface LayerActivations {
  /**
   * What the gradient of each operation reads (counted as by Korthikanti et al., arXiv:2205.05198, section 4): of attention
   * queries, keys (both also as they were before they turned), values and outputs, no scores; of a mixture the rows of the k experts that a token visits. The tape
   * keeps it whether or not a gradient comes that way.
   */
  readonly kept: number;
  /**
   * Gradients of what the operations gave, and sums of them where several meet: the tape frees none before its end. None
   * below the first half of a layer that is trained. What adapters keep and their gradients are here too.
   */
  readonly gradients: number;
}

/** What is trained, as far as it decides what is held. */
export interface TrainedLinears {
  /** Whether matrices are float32; then each keeps its input, for a gradient of its own. */
  readonly float32: boolean;
  /** Linears with an adapter, by path; these keep their input too. */
  readonly adapted: ReadonlyMap<string, AdaptedLinear>;
  /** Of the adapter, if there is one; then it alone is trained. */
  readonly lora?: LoraConfig;
}

/** Counts one layer of plain attention and a SwiGLU feed-forward, dense or a mixture. */
export function layerActivations(config: ModelConfig, layer: number, trained: TrainedLinears): LayerActivations {
  const { hiddenSize: hidden, numAttentionHeads, numKeyValueHeads, headDim } = config;
  const [queries, keys] = [numAttentionHeads * headDim, numKeyValueHeads * headDim];
  const path = `model.layers.${layer}`;
  const asks: Asks = (part, names) =>
    trained.float32 || names.some((name) => trained.adapted.has(`${path}.${part}.${name}`));
  const normed = asks('self_attn', ['q_proj', 'k_proj', 'v_proj']) ? hidden : 0;
  // The residual stream before each half, what each adds to it, and both norms; queries and keys before and after they
  // turn, values, outputs. Then the ways back, added up.
  const attention = { kept: 6 * hidden + normed + 3 * (queries + keys), gradients: 8 * hidden + 3 * (queries + keys) };
  const second = isMixtureLayer(config, layer) ? mixture(config, asks) : dense(config, asks);
  const kept = attention.kept + second.kept;
  const first = trained.lora ? firstTrained(trained.adapted) : -1;
  if (layer < first) return { kept, gradients: 0 };
  const reachesAttention = layer > first || adaptersUnder(`${path}.self_attn.`, trained) > 0;
  const added = adaptersUnder(`${path}.`, trained);
  return { kept, gradients: (reachesAttention ? attention.gradients : 0) + second.gradients + added };
}

/** What adapters hold of each token on all linears whose paths start so. */
export function adaptersUnder(start: string, { adapted, lora }: TrainedLinears): number {
  return [...adapted].reduce(
    (sum, [path, linear]) => sum + (lora && path.startsWith(start) ? adapterActivations(linear, lora) : 0),
    0,
  );
}

/** Infinity where no layer is. */
function firstTrained(adapted: ReadonlyMap<string, unknown>): number {
  return Math.min(
    ...[...adapted.keys()].flatMap((path) => {
      const layer = /^model\.layers\.(\d+)\./.exec(path);
      return layer ? [Number(layer[1])] : [];
    }),
  );
}

type Asks = (part: string, names: readonly string[]) => boolean;

function dense({ hiddenSize: hidden, intermediateSize }: ModelConfig, asks: Asks): LayerActivations {
  const { kept, gradients } = gated('mlp', [hidden, intermediateSize], asks);
  return { kept, gradients: gradients + hidden };
}

/** The router keeps its input whatever is trained, and the combination what the experts gave. */
function mixture(config: ModelConfig, asks: Asks): LayerActivations {
  const { hiddenSize: hidden, mixture } = config;
  const { numExperts, numExpertsPerTok: k, sharedExpert } = mixture!;
  const experts = gated('mlp.experts', [hidden, expertSize(config)], asks);
  const shared = gated('mlp.shared_expert', [0, sharedExpert?.intermediateSize ?? 0], asks);
  return {
    kept: hidden + 2 * numExperts + k * (experts.kept + hidden) + shared.kept,
    gradients:
      3 * hidden +
      2 * numExperts +
      k * (experts.gradients + 2 * hidden) +
      shared.gradients +
      (sharedExpert ? 2 * hidden : 0),
  };
}

/** `down(silu(gate x) * (up x))`: its input and the product where they are asked for, gate and up always. */
function gated(part: string, [hidden, inner]: readonly [number, number], asks: Asks): LayerActivations {
  const input = asks(part, ['gate_up_proj']) ? hidden : 0;
  return { kept: input + 2 * inner + (asks(part, ['down_proj']) ? inner : 0), gradients: 3 * inner };
}
