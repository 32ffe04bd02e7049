import type { ModelConfig } from '../model-config.js';
import { type HuggingFaceForm, requireHuggingFaceForm } from './family.js';
import { OWN_SECTION } from './own-section.js';
import { ropeToHuggingFace } from './rope.js';

type Json = Readonly<Record<string, unknown>>;

const architectures = {
  mistral: 'MistralForCausalLM',
  mixtral: 'MixtralForCausalLM',
  qwen2_moe: 'Qwen2MoeForCausalLM',
} as const;

/**
 * The `config.json` of a model: Mistral's, Mixtral's or Qwen2-MoE's, whichever says it. Domain names go into a section of
 * our own, which other readers ignore.
 *
 * @param dtype of the weights, such as `float32`.
 * @throws when none does, naming the fields.
 */
export function configToHuggingFace(config: ModelConfig, dtype: string): Json {
  return formToHuggingFace(requireHuggingFaceForm(config), dtype);
}

/** The `config.json` of a model in the form of a family. Tokens that it does not name are null, or readers fill them in. */
export function formToHuggingFace({ family, config }: HuggingFaceForm, dtype: string): Json {
  const { mixture } = config;
  return {
    architectures: [architectures[family]],
    attention_dropout: 0,
    bos_token_id: config.bosTokenId ?? null,
    dtype,
    eos_token_id: config.eosTokenId ?? null,
    head_dim: config.headDim,
    hidden_act: 'silu',
    hidden_size: config.hiddenSize,
    initializer_range: config.initializerRange,
    intermediate_size: config.intermediateSize,
    max_position_embeddings: config.maxPositionEmbeddings,
    model_type: family,
    num_attention_heads: config.numAttentionHeads,
    num_hidden_layers: config.numHiddenLayers,
    num_key_value_heads: config.numKeyValueHeads,
    rms_norm_eps: config.rmsNormEps,
    ...ropeToHuggingFace(config),
    sliding_window: config.slidingWindow ?? null,
    tie_word_embeddings: config.tieWordEmbeddings,
    vocab_size: config.vocabSize,
    ...(family === 'mixtral' && mixtralFields(config)),
    ...(family === 'qwen2_moe' && qwen2MoeFields(config)),
    ...(mixture?.domains ? { [OWN_SECTION]: { domains: mixture.domains } } : {}),
  };
}

function mixtralFields({ mixture }: ModelConfig): Json {
  return { num_experts_per_tok: mixture!.numExpertsPerTok, num_local_experts: mixture!.numExperts };
}

/** Every layer may have its window only where `layer_types` says so; by default every second one has. */
function qwen2MoeFields({ mixture, intermediateSize, numHiddenLayers, slidingWindow, qkvBias }: ModelConfig): Json {
  const { layers, numExperts, numExpertsPerTok, normTopkProb, moeIntermediateSize, sharedExpert } = mixture!;
  const all = Array.from({ length: numHiddenLayers }, (_, layer) => layer);
  const attention = slidingWindow === undefined ? 'full_attention' : 'sliding_attention';
  return {
    decoder_sparse_step: 1,
    layer_types: all.map(() => attention),
    max_window_layers: numHiddenLayers,
    mlp_only_layers: layers ? all.filter((layer) => !layers.includes(layer)) : [],
    moe_intermediate_size: moeIntermediateSize ?? intermediateSize,
    norm_topk_prob: normTopkProb,
    num_experts: numExperts,
    num_experts_per_tok: numExpertsPerTok,
    qkv_bias: qkvBias ?? false,
    shared_expert_intermediate_size: sharedExpert!.intermediateSize,
    use_sliding_window: slidingWindow !== undefined,
  };
}
