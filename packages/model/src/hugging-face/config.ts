import type { RopeScaling } from '@therapeutic-moe/attention';
import { type ModelConfig, resolveConfig } from '../model-config.js';
import { requireObject } from '../require-object.js';

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
  const maxPositions = number('max_position_embeddings');
  const window = json.sliding_window;
  if (typeof window === 'number' && window > 0 && window < maxPositions)
    refuse('sliding_window', 'null; windows are not implemented');
  if (json.quantization_config !== undefined && json.quantization_config !== null) {
    throw new Error(
      `${file}: quantization_config is present; quantised weights are not implemented. Use a checkpoint in float32, float16 or bfloat16.`,
    );
  }
  const own = requireObject(json[OWN_SECTION] ?? {}, `${file}: ${OWN_SECTION}`) as { domains?: string[] | null };
  const heads = number('num_attention_heads');
  return {
    vocabSize: number('vocab_size'),
    hiddenSize: number('hidden_size'),
    intermediateSize: number('intermediate_size'),
    numHiddenLayers: number('num_hidden_layers'),
    numAttentionHeads: heads,
    numKeyValueHeads: (json.num_key_value_heads ?? null) === null ? heads : number('num_key_value_heads'),
    headDim: (json.head_dim ?? null) === null ? undefined : number('head_dim'),
    maxPositionEmbeddings: maxPositions,
    rmsNormEps: number('rms_norm_eps'),
    ...ropeFromHuggingFace(json, defaultTheta[modelType], file),
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
 * `rope_parameters` (transformers 5) or `rope_theta` with `rope_scaling` (before); `type` is the old name of
 * `rope_type`.
 */
function ropeFromHuggingFace(
  json: Json,
  fallbackTheta: number,
  file: string,
): { ropeTheta: number; ropeScaling: RopeScaling } {
  const section = (json.rope_parameters ?? null) === null ? 'rope_scaling' : 'rope_parameters';
  const rope = requireObject(json[section] ?? {}, `${file}: ${section}`);
  const nested = Object.keys(rope).find((key) => typeof rope[key] === 'object' && rope[key] !== null);
  if (nested) throw new Error(`${file}: ${section}.${nested} is set per layer type; one set for all is implemented.`);
  const theta = rope.rope_theta ?? json.rope_theta ?? fallbackTheta;
  if (typeof theta !== 'number') throw new Error(`${file}: rope_theta is ${JSON.stringify(theta)}, expected a number.`);
  const type = rope.rope_type ?? rope.type ?? 'default';
  if (type === 'default') return { ropeTheta: theta, ropeScaling: { type: 'none' } };
  if (type !== 'linear') {
    throw new Error(
      `${file}: rope_type is ${JSON.stringify(type)}, expected 'default' or 'linear'; others are not implemented.`,
    );
  }
  if (typeof rope.factor !== 'number')
    throw new Error(`${file}: rope factor is ${JSON.stringify(rope.factor)}, expected a number.`);
  return { ropeTheta: theta, ropeScaling: { type: 'linear', factor: rope.factor } };
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
  const { mixture, ropeScaling } = config;
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
    rope_parameters: {
      rope_theta: config.ropeTheta,
      ...(ropeScaling.type === 'linear'
        ? { rope_type: 'linear', factor: ropeScaling.factor }
        : { rope_type: 'default' }),
    },
    rope_theta: config.ropeTheta,
    // What transformers 4 reads; version 5 prefers rope_parameters.
    ...(ropeScaling.type === 'linear' ? { rope_scaling: { type: 'linear', factor: ropeScaling.factor } } : {}),
    sliding_window: null,
    tie_word_embeddings: config.tieWordEmbeddings,
    vocab_size: config.vocabSize,
    ...(mixture?.domains ? { [OWN_SECTION]: { domains: mixture.domains } } : {}),
  };
}
