import { wordsPerRow } from '@therapeutic-moe/kernels';
import { type LoraConfig, resolveLoraConfig, startsFromBase } from '@therapeutic-moe/lora';
import { kvValuesPerToken, sessionBytes } from './kv-bytes.js';
import { adaptersUnder, type LayerActivations, layerActivations, type TrainedLinears } from './layer-activations.js';
import type { ModelConfig } from './model-config.js';
import { adaptedLinears, countParameters } from './parameter-count.js';
import { bufferShapes, type ParameterShape, parameterShapes } from './parameter-shapes.js';
import type { WeightDtype } from './weight-dtype.js';

/** What a memory plan is made for. */
export interface MemoryPlanOptions {
  /** What the matrices are held as. */
  readonly weights: WeightDtype;
  /** The adapter that is trained. Absent: all weights are, which only float32 ones can be. */
  readonly lora?: Partial<LoraConfig>;
  /** Sequences of a training step. */
  readonly batch: number;
  /** Tokens of each. */
  readonly seq: number;
  /** Tokens of a session that is served. */
  readonly serveTokens: number;
}

/** Device memory of a model in bytes, by what it is for. */
export interface MemoryPlan {
  /** Matrices as they are held, and what is float32 whatever they are: norms, biases, routers. */
  readonly weights: number;
  /** The adapter's factors, float32, and as many that are held still where they start from the base; 0 without one. */
  readonly adapter: number;
  /** The largest matrix in float32, which a frozen one may be for the moment of its product; 0 where none is frozen. */
  readonly thawed: number;
  /** Absent where nothing is trained: weights that are frozen and no adapter. */
  readonly training?: TrainingMemory;
  readonly serving: ServingMemory;
}

/** What training takes beside weights, adapter and thawed matrix. */
export interface TrainingMemory {
  /** One float32 for each trained parameter. */
  readonly gradients: number;
  /** AdamW's two moments. */
  readonly optimizer: number;
  /** Logits and their gradient, float32 `[batch * seq, vocab]` each. */
  readonly logits: number;
  /** What all layers and an adapter on the head keep for their gradients, and these, which the tape holds until a step's end. */
  readonly activations: number;
  /**
   * The same with gradient checkpointing (arXiv:1604.06174): the input of each layer `[batch, seq, hidden]`, and what one
   * layer, the largest, keeps and makes. Not implemented: a plan.
   */
  readonly checkpointed: number;
  /** All of it, weights included. */
  readonly total: number;
  /** All of it with checkpointing. */
  readonly checkpointedTotal: number;
}

/** What serving takes beside weights and thawed matrix; an adapter stays beside frozen weights. */
export interface ServingMemory {
  /** Keys and values of the session, by how they are kept; a session of ours keeps float32 or int8. */
  readonly kv: { readonly bfloat16: number; readonly float32: number; readonly int8: number };
  /** What the largest layer computes of all tokens at once. */
  readonly pass: number;
  /** All of it with float32 keys and values, weights included. */
  readonly total: number;
}

/**
 * Plans device memory without building anything. Exact for weights, adapters, gradients, optimiser and keys and values;
 * activations are counted as the operations keep them, not what a backend needs inside of one.
 *
 * @throws when attention or experts are of a kind whose activations are not counted, or the adapter does not fit.
 */
export function memoryPlan(config: ModelConfig, options: MemoryPlanOptions): MemoryPlan {
  refuseUncounted(config);
  const { weights: dtype, lora } = options;
  const shapes = [...parameterShapes(config).values(), ...bufferShapes(config).values()];
  const weights = sum(shapes.map((shape) => bytesOf(shape, dtype)));
  const { trainable } = countParameters(config, lora);
  const adapter = lora ? 4 * (trainable + countStarts(config, lora)) : 0;
  const thawed = dtype === 'float32' ? 0 : 4 * Math.max(...shapes.filter(({ frozenAs }) => frozenAs).map(matrixSize));
  const held = weights + adapter + thawed;
  const trained = trainedLinears(config, options);
  const layers = Array.from({ length: config.numHiddenLayers }, (_, layer) => layerActivations(config, layer, trained));
  const head = adaptersUnder('lm_head', trained);
  return {
    weights,
    adapter,
    thawed,
    ...((lora || dtype === 'float32') && {
      training: planTraining(config, options, { trainable, held, layers, head }),
    }),
    serving: planServing(config, options, { held, layers }),
  };
}

function planTraining(
  { vocabSize, hiddenSize, numHiddenLayers }: ModelConfig,
  { batch, seq }: MemoryPlanOptions,
  {
    trainable,
    held,
    layers,
    head,
  }: { trainable: number; held: number; layers: readonly LayerActivations[]; head: number },
): TrainingMemory {
  const bytes = 4 * batch * seq;
  const each = layers.map(({ kept, gradients }) => kept + gradients);
  const [gradients, optimizer, logits] = [4 * trainable, 8 * trainable, 2 * bytes * vocabSize];
  const activations = bytes * (sum(each) + head);
  const checkpointed = bytes * (numHiddenLayers * hiddenSize + Math.max(...each) + head);
  const others = held + gradients + optimizer + logits;
  const totals = { total: others + activations, checkpointedTotal: others + checkpointed };
  return { gradients, optimizer, logits, activations, checkpointed, ...totals };
}

function planServing(
  config: ModelConfig,
  { serveTokens }: MemoryPlanOptions,
  { held, layers }: { held: number; layers: readonly LayerActivations[] },
): ServingMemory {
  const kv = {
    bfloat16: 2 * kvValuesPerToken(config) * serveTokens,
    float32: sessionBytes(config, 'float32', serveTokens),
    int8: sessionBytes(config, 'int8', serveTokens),
  };
  const pass = 4 * serveTokens * Math.max(...layers.map(({ kept }) => kept));
  return { kv, pass, total: held + kv.float32 + pass };
}

function trainedLinears(config: ModelConfig, { weights, lora }: MemoryPlanOptions): TrainedLinears {
  const float32 = weights === 'float32';
  if (!lora) return { float32, adapted: new Map() };
  return { float32, adapted: adaptedLinears(config, lora), lora: resolveLoraConfig(lora) };
}

/** Numbers in the parts of the base that an adapter takes over: factors like its own, without DoRA's lengths. */
function countStarts(config: ModelConfig, lora: Partial<LoraConfig>): number {
  return startsFromBase(resolveLoraConfig(lora)) ? countParameters(config, { ...lora, useDora: false }).trainable : 0;
}

function bytesOf(parameter: ParameterShape, dtype: WeightDtype): number {
  const { shape, frozenAs } = parameter;
  if (!frozenAs || dtype === 'float32') return 4 * size(shape);
  const inputs = frozenAs === 'rows' ? shape.at(-1)! : shape.at(-2)!;
  const rows = size(shape) / inputs;
  return 4 * rows * (wordsPerRow(inputs, dtype) + (dtype === 'int8' ? 1 : 0));
}

function matrixSize({ shape }: ParameterShape): number {
  return size(shape.slice(-2));
}

function refuseUncounted({ attention, mixture }: ModelConfig): void {
  const kinds = { 'attention.kind': attention?.kind, 'mixture.experts.kind': mixture?.experts?.kind };
  for (const [field, kind] of Object.entries(kinds)) {
    if (kind === undefined || kind === 'specialised') continue;
    throw new Error(
      `memoryPlan: ${field} is '${kind}', whose activations are not counted; plans are made for plain attention and SwiGLU.`,
    );
  }
}

function size(shape: readonly number[]): number {
  return shape.reduce((product, axis) => product * axis, 1);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
