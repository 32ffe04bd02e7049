import { type ModelConfig, resolveConfig } from '../model-config.js';
import { requireObject } from '../require-object.js';
import { maxPositions } from '../rotary-positions.js';
import { quantizationFromHuggingFace } from './quantization.js';
import { ropeFromHuggingFace, ropeToHuggingFace } from './rope.js';

/** A `config.json` as read. Unknown keys are tolerated here and only here: Hugging Face adds some in every release. */
type Json = Readonly<Record<string, unknown>>;

/**
 * Base of the rotary frequencies where a file names none: what transformers 5 takes then. Files from before
 * `rope_theta` was written rely on it.
 */
const defaultTheta = { mistral: 10_000, mixtral: 1_000_000 } as const;

/** Name of the section of our own that a checkpoint's `config.json` may carry. */
const OWN_SECTION = 'therapeutic_moe';

/**
 * Translates a `config.json` of `mistral` or `mixtral`.
 *
 * Where key-value heads are null they are as many as the heads, and a missing `rope_theta` is 10,000 for `mistral` and
 * 1,000,000 for `mixtral`, both as in transformers. Absent key-value heads are read as null ones.
 *
 * @param content the parsed JSON.
 * @param file named in errors.
 * @throws when another value is missing, or one asks for something that is not implemented.
 */
export function configFromHuggingFace(content: unknown, file = 'config.json'): ModelConfig {
  const json = requireObject(content, `${file}: the content`);
  const partial = translate(json, file);
  try {
    return resolveConfig(partial);
  } catch (cause) {
    throw new Error(`${file}: ${(cause as Error).message}`, { cause });
  }
}

function translate(json: Json, file: string): Parameters<typeof resolveConfig>[0] {
  const refuse = (field: string, expected: string): never => {
    throw new Error(`${file}: ${field} is ${JSON.stringify(json[field])}, expected ${expected}.`);
  };
  const number = (field: string): number =>
    typeof json[field] === 'number' ? (json[field] as number) : refuse(field, 'a number');
  const modelType = json.model_type;
  if (modelType !== 'mistral' && modelType !== 'mixtral')
    return refuse('model_type', "'mistral' or 'mixtral'; other families are not implemented");
  if (json.hidden_act !== 'silu') refuse('hidden_act', "'silu'; other activations are not implemented");
  const maxPositionEmbeddings = number('max_position_embeddings');
  quantizationFromHuggingFace(json, file); // refuses what is not read; the model is the same however it was stored
  const own = requireObject(json[OWN_SECTION] ?? {}, `${file}: ${OWN_SECTION}`) as { domains?: string[] | null };
  const heads = number('num_attention_heads');
  const rope = ropeFromHuggingFace(json, defaultTheta[modelType], file);
  const positions = maxPositions({ maxPositionEmbeddings, ropeScaling: rope.ropeScaling });
  return {
    vocabSize: number('vocab_size'),
    hiddenSize: number('hidden_size'),
    intermediateSize: number('intermediate_size'),
    numHiddenLayers: number('num_hidden_layers'),
    numAttentionHeads: heads,
    numKeyValueHeads: (json.num_key_value_heads ?? null) === null ? heads : number('num_key_value_heads'),
    headDim: (json.head_dim ?? null) === null ? undefined : number('head_dim'),
    maxPositionEmbeddings,
    slidingWindow: windowFromHuggingFace(json, positions, file),
    rmsNormEps: number('rms_norm_eps'),
    ...rope,
    tieWordEmbeddings: json.tie_word_embeddings === true,
    initializerRange: json.initializer_range === undefined ? undefined : number('initializer_range'),
    bosTokenId: tokenId(json.bos_token_id),
    eosTokenId: tokenId(json.eos_token_id),
    mixture:
      modelType === 'mixtral'
        ? {
            numExperts: number('num_local_experts'),
            numExpertsPerTok: number('num_experts_per_tok'),
            softmaxOrder: 'before-top-k',
            normTopkProb: true, // Mixtral always renormalises
            ...((own.domains ?? null) === null ? {} : { domains: own.domains as string[] }),
          }
        : undefined,
  };
}

/**
 * `sliding_window`; 0, null and `use_sliding_window: false` mean none, and so does a window that no position leaves.
 * transformers gives a Mistral without the field its first release's 4,096.
 */
function windowFromHuggingFace(json: Json, positions: number, file: string): number | undefined {
  const absent = json.model_type === 'mistral' ? 4096 : null;
  const window = json.sliding_window === undefined ? absent : json.sliding_window;
  if (window === null || window === 0 || json.use_sliding_window === false) return undefined;
  if (typeof window !== 'number')
    throw new Error(`${file}: sliding_window is ${JSON.stringify(window)}, expected a number or null.`);
  return window < positions ? window : undefined;
}

function tokenId(value: unknown): number | undefined {
  const first = Array.isArray(value) ? value[0] : value;
  return typeof first === 'number' ? first : undefined;
}

/**
 * The `config.json` of a model: Mixtral with experts, Mistral without; domain names go into a section of our own, which
 * other readers ignore.
 */
export function configToHuggingFace(config: ModelConfig, dtype: string): Json {
  const { mixture } = config;
  return {
    architectures: [mixture ? 'MixtralForCausalLM' : 'MistralForCausalLM'],
    attention_dropout: 0,
    ...(config.bosTokenId === undefined ? {} : { bos_token_id: config.bosTokenId }),
    dtype,
    ...(config.eosTokenId === undefined ? {} : { eos_token_id: config.eosTokenId }),
    head_dim: config.headDim,
    hidden_act: 'silu',
    hidden_size: config.hiddenSize,
    initializer_range: config.initializerRange,
    intermediate_size: config.intermediateSize,
    max_position_embeddings: config.maxPositionEmbeddings,
    model_type: mixture ? 'mixtral' : 'mistral',
    num_attention_heads: config.numAttentionHeads,
    ...(mixture ? { num_experts_per_tok: mixture.numExpertsPerTok, num_local_experts: mixture.numExperts } : {}),
    num_hidden_layers: config.numHiddenLayers,
    num_key_value_heads: config.numKeyValueHeads,
    rms_norm_eps: config.rmsNormEps,
    ...ropeToHuggingFace(config),
    sliding_window: config.slidingWindow ?? null,
    tie_word_embeddings: config.tieWordEmbeddings,
    vocab_size: config.vocabSize,
    ...(mixture?.domains ? { [OWN_SECTION]: { domains: mixture.domains } } : {}),
  };
}
