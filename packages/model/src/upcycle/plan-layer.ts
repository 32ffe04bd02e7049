import * as tf from '@tensorflow/tfjs-core';
import { matMul, swiGlu } from '@therapeutic-moe/kernels';
import { Linear } from '@therapeutic-moe/nn';
import { type RouterConfig, TopKRouter } from '@therapeutic-moe/router';
import { domainGate } from './domain-gate.js';
import type { PromptTokens } from './domain-prompts.js';
import { busiestNeurons, type ExpertNeurons, neuronEnergy } from './neurons.js';

/** What a layer becomes. */
export interface LayerPlan {
  /** `[hidden, experts]` row by row. */
  readonly gate: Float32Array;
  /** For each expert; absent: each takes all neurons as they are. */
  readonly experts?: readonly ExpertNeurons[];
  /** Share of the prompts' counted tokens whose first choice is the expert of their domain. */
  readonly agreement?: number;
  /** How far the mixture is from the dense layer on the prompts: the root of the mean square of what differs, over that of the output. */
  readonly difference?: number;
}

/** A dense feed-forward. */
interface DenseWeights {
  /** `[hidden, 2 * inner]`, gate first. */
  readonly gateUp: tf.Tensor2D;
  /** `[inner, hidden]` */
  readonly down: tf.Tensor2D;
}

/**
 * Plans a layer by what its feed-forward is given for prompts: the router by the means of the domains, and experts of
 * fewer neurons by those that do most for their domain (LLaMA-MoE's sharing by importance, arXiv:2406.16554), scaled to
 * come nearest to the dense output on it.
 *
 * @param rows `[tokens, hidden]` @param size neurons of an expert.
 */
export async function planLayer(
  rows: tf.Tensor2D,
  tokens: PromptTokens,
  dense: DenseWeights,
  router: RouterConfig,
  size: number,
): Promise<LayerPlan> {
  const shares = tf.tensor2d(tokens.shares, [router.numExperts, rows.shape[0]]);
  const gate = domainGate(rows, shares);
  try {
    const routed = await routeRows(rows, gate, router);
    const values = { gate: (await gate.data()) as Float32Array, agreement: agreementOf(routed, tokens) };
    if (size === dense.down.shape[0]) return values;
    return { ...values, ...(await narrowExperts(rows, shares, dense, routed, size)) };
  } finally {
    tf.dispose([shares, gate]);
  }
}

/** Where the router sends the tokens. */
interface RoutedRows {
  /** `[tokens]`, the first choice of each. */
  readonly first: Int32Array;
  /** `[tokens, experts]` row by row: the weight of each expert, 0 where it was not chosen. */
  readonly weights: Float32Array;
}

async function routeRows(rows: tf.Tensor2D, gate: tf.Tensor2D, config: RouterConfig): Promise<RoutedRows> {
  const router = new TopKRouter(new Linear(tf.variable(gate)), config);
  const routing = router.route(rows);
  router.dispose();
  const [indices, chosen] = [await routing.indices.data(), await routing.weights.data()];
  tf.dispose({ ...routing });
  const { numExperts, numExpertsPerTok: k } = config;
  const weights = new Float32Array(rows.shape[0] * numExperts);
  for (const [i, expert] of indices.entries()) weights[Math.floor(i / k) * numExperts + expert] = chosen[i]!;
  return { first: Int32Array.from({ length: rows.shape[0] }, (_, token) => indices[token * k]!), weights };
}

function agreementOf({ first }: RoutedRows, { domains }: PromptTokens): number {
  const counted = domains.filter((domain) => domain >= 0).length;
  return domains.filter((domain, token) => domain === first[token]).length / counted;
}

async function narrowExperts(
  rows: tf.Tensor2D,
  shares: tf.Tensor2D,
  { gateUp, down }: DenseWeights,
  { weights }: RoutedRows,
  size: number,
): Promise<Required<Pick<LayerPlan, 'experts' | 'difference'>>> {
  const activations = tf.tidy(() => swiGlu(matMul(rows, gateUp) as tf.Tensor2D));
  const [output, energy] = [matMul(activations, down), neuronEnergy(activations, shares, down)];
  const neurons = busiestNeurons((await energy.data()) as Float32Array, down.shape[0], size);
  const measured = tf.tidy(() => {
    const parts = neurons.map((own) => matMul(tf.mul(activations, maskOf(own, down.shape[0])), down));
    const scales = parts.map((part, expert) => nearestScale(part, output, tf.slice(shares, [expert, 0], [1, -1])));
    const byExpert = tf.unstack(tf.tensor2d(weights, [rows.shape[0], neurons.length]), 1);
    const shared = parts.map((part, e) => tf.mul(part, tf.mul(tf.expandDims(byExpert[e]!, 1), scales[e]!)));
    return {
      scales: tf.stack(scales.map((scale) => tf.reshape(scale, []))),
      difference: relativeDistance(tf.addN(shared), output, shares),
    };
  });
  const [scales, [difference]] = [await measured.scales.data(), await measured.difference.data()];
  tf.dispose([activations, output, energy, measured]);
  return { experts: neurons.map((own, e) => ({ neurons: own, scale: scales[e]! })), difference: difference! };
}

function maskOf(neurons: readonly number[], inner: number): tf.Tensor1D {
  const mask = new Float32Array(inner);
  for (const neuron of neurons) mask[neuron] = 1;
  return tf.tensor1d(mask);
}

/** The number that brings a part nearest to the whole in the least squares of a domain's tokens, `[1, 1]`. */
function nearestScale(part: tf.Tensor, whole: tf.Tensor, shares: tf.Tensor): tf.Tensor {
  const [together, alone] = [tf.mul(part, whole), tf.square(part)].map((x) => matMul(shares, tf.sum(x, 1, true)));
  return tf.div(together!, tf.maximum(alone!, 1e-30));
}

function relativeDistance(x: tf.Tensor, whole: tf.Tensor, shares: tf.Tensor): tf.Tensor {
  const [apart, size] = [tf.sub(x, whole), whole].map((each) =>
    tf.sum(matMul(shares, tf.sum(tf.square(each), 1, true))),
  );
  return tf.sqrt(tf.div(apart!, size!));
}
