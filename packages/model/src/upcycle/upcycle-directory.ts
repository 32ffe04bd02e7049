import * as tf from '@tensorflow/tfjs-core';
import { type CheckpointReader, openCheckpoint } from '@therapeutic-moe/checkpoint';
import { type BaseLinear, seedFor } from '@therapeutic-moe/nn';
import { checkTensors } from '../check-tensors.js';
import type { DecoderLayer } from '../decoder-layer.js';
import type { DenseFeedForward } from '../feed-forward.js';
import { expertSize, mixtureLayers } from '../mixture-layers.js';
import type { ModelConfig } from '../model-config.js';
import { checkpointTensors, configFromJson, int8Weights, readConfigJson } from '../model-directory.js';
import { checkpointPlan, type dtypeNames, type SaveModelOptions, writeCheckpoint } from '../save-model-directory.js';
import { BaseReader } from './base-reader.js';
import { type DomainPrompt, type PromptTokens, readPrompts } from './domain-prompts.js';
import { dealNeurons } from './neurons.js';
import { type LayerPlan, planLayer } from './plan-layer.js';
import { PromptStates } from './prompt-states.js';
import { type UpcycledMixture, upcycledConfig } from './upcycled-config.js';
import { upcycledTensors } from './upcycled-tensors.js';

/** How a dense checkpoint becomes a mixture. */
export interface UpcycleDirectoryOptions extends SaveModelOptions {
  readonly mixture: UpcycledMixture;
  /** Texts of the domains, for the routers; domain i is that of expert i. Absent: routers at random. */
  readonly prompts?: readonly DomainPrompt[];
  /** How far every expert but the first is moved. Absent: not at all. */
  readonly noiseDeviation?: number;
  /** Of random routers, the choice of neurons at random, and noise. */
  readonly seed: number;
  /** What weights are stored as; default what the base's are. */
  readonly dtype?: CheckpointDtype;
}

type CheckpointDtype = keyof typeof dtypeNames;

/** What upcycling made. */
export interface UpcycledCheckpoint {
  readonly base: ModelConfig;
  readonly config: ModelConfig;
  readonly dtype: CheckpointDtype;
  /** For each layer with a mixture what prompts tell of it, ascending; nothing where there were none. */
  readonly layers: readonly ({ readonly layer: number } & Pick<LayerPlan, 'agreement' | 'difference'>)[];
}

/**
 * Makes a Mixture of Experts of a dense checkpoint (sparse upcycling, arXiv:2212.05055): in the chosen layers every expert
 * is a copy of the feed-forward, so that the output is the dense one whatever the router chooses, until training tells them
 * apart. With `moeIntermediateSize` below the dense width each expert takes that many of its neurons, and the output is
 * another one from the start.
 *
 * Works from file to file: host memory holds one tensor and one feed-forward at a time, in float32, and the device nothing (noise
 * aside: one expert). Prompts pass through the base layer by layer first, which the device holds one of.
 *
 * @param output gets `config.json` and `model.safetensors`, in the layout that `saveModelDirectory` would write.
 * @throws before anything is written when base, mixture and prompts do not fit each other.
 */
export async function upcycleDirectory(
  base: string,
  output: string,
  { mixture, prompts, noiseDeviation, seed, dtype: asked, maxShardBytes, onProgress }: UpcycleDirectoryOptions,
): Promise<UpcycledCheckpoint> {
  const [json, file] = await readConfigJson(base);
  const dense = configFromJson(json, file);
  if (int8Weights(json, file)) {
    throw new Error(
      `${file}: quantization_config says that weights are stored in 8 bits, which upcycle does not read; write the base with "export --format hf" first, and upcycle that.`,
    );
  }
  const config = upcycledConfig(dense, mixture);
  const checkpoint = await openCheckpoint(base);
  try {
    const map = checkpointTensors(json, dense, checkpoint.names);
    checkTensors(checkpoint, map);
    const reader = new BaseReader(dense, checkpoint, map);
    const dtype = asked ?? storedDtype(checkpoint);
    const plans = prompts ? await planByPrompts(reader, config, prompts) : await planAtRandom(config, dense, seed);
    const noise = noiseDeviation === undefined ? {} : { noise: { deviation: noiseDeviation, seed } };
    const target = checkpointPlan(config);
    const tensors = upcycledTensors({ base: reader, plans, ...noise }, target.tensors, dtype);
    await writeCheckpoint(output, target, tensors, { dtype, maxShardBytes, onProgress });
    const layers = [...plans].map(([layer, { agreement, difference }]) => ({ layer, agreement, difference }));
    return { base: dense, config, dtype, layers };
  } finally {
    await checkpoint.close();
  }
}

/** What most bytes of a checkpoint are; norms may be wider than matrices. */
function storedDtype(checkpoint: CheckpointReader): CheckpointDtype {
  const bytes = { F32: 0, F16: 0, BF16: 0 };
  for (const name of checkpoint.names) {
    const { dtype, start, end } = checkpoint.entry(name);
    bytes[dtype as CheckpointDtype] += end - start;
  }
  return (Object.keys(bytes) as CheckpointDtype[]).reduce((a, b) => (bytes[b] > bytes[a] ? b : a));
}

async function planAtRandom(config: ModelConfig, dense: ModelConfig, seed: number): Promise<Map<number, LayerPlan>> {
  const { numExperts: experts } = config.mixture!;
  const [inner, size] = [dense.intermediateSize, expertSize(config)];
  const plans = new Map<number, LayerPlan>();
  for (const layer of mixtureLayers(config)) {
    const own = seedFor(seed, `layers.${layer}`);
    const gate = await randomGate(config, seedFor(own, 'gate'));
    const dealt = size < inner && dealNeurons(inner, { experts, size, seed: own });
    plans.set(layer, { gate, ...(dealt && { experts: dealt.map((neurons) => ({ neurons, scale: inner / size })) }) });
  }
  return plans;
}

/** As a fresh model's. */
async function randomGate({ hiddenSize, initializerRange, mixture }: ModelConfig, seed: number): Promise<Float32Array> {
  const gate = tf.randomNormal([hiddenSize, mixture!.numExperts], 0, initializerRange, 'float32', seed);
  const values = (await gate.data()) as Float32Array;
  gate.dispose();
  return values;
}

/** Takes the prompts through the base, a layer at a time. */
async function planByPrompts(
  base: BaseReader,
  config: ModelConfig,
  prompts: readonly DomainPrompt[],
): Promise<Map<number, LayerPlan>> {
  const { numExperts, domains = Array.from({ length: numExperts }, (_, expert) => `${expert}`) } = config.mixture!;
  const tokens = readPrompts(base.config, prompts, domains);
  const wanted = mixtureLayers(config);
  const plans = new Map<number, LayerPlan>();
  const embeddings = await base.readRows('model.embed_tokens.weight', tokens.ids.flat());
  const states = new PromptStates(base.config, tokens.ids, embeddings);
  try {
    for (let index = 0; plans.size < wanted.length; index++) {
      const layer = await base.layer(index);
      let rows: tf.Tensor2D | undefined;
      try {
        rows = states.advance(layer);
        if (wanted.includes(index)) plans.set(index, await planDense(rows, tokens, layer, config));
      } finally {
        rows?.dispose();
        layer.dispose();
      }
    }
  } finally {
    states.dispose();
  }
  return plans;
}

async function planDense(rows: tf.Tensor2D, tokens: PromptTokens, { feedForward }: DecoderLayer, config: ModelConfig) {
  const { gateUp, down } = feedForward as DenseFeedForward;
  const { numExperts, numExpertsPerTok, softmaxOrder, normTopkProb } = config.mixture!;
  const [first, second] = [gateUp, down] as [BaseLinear, BaseLinear]; // a base that was just read has no adapter
  const dense = { gateUp: first.dense(), down: second.dense() };
  try {
    const router = { numExperts, numExpertsPerTok, softmaxOrder, normTopkProb };
    return await planLayer(rows, tokens, dense, router, expertSize(config));
  } finally {
    tf.dispose(dense);
  }
}
