/** Families of Hugging Face's that we read, by `model_type`. */
export type ReadFamily = keyof typeof familyDefaults;

const common = {
  attention_dropout: 0,
  hidden_act: 'silu',
  initializer_range: 0.02,
  rms_norm_eps: 1e-6,
  tie_word_embeddings: false,
} as const;

const mistral = {
  ...common,
  vocab_size: 32_000,
  hidden_size: 4096,
  intermediate_size: 14_336,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  num_key_value_heads: 8,
  max_position_embeddings: 131_072,
  rope_theta: 10_000,
  sliding_window: 4096,
  bos_token_id: 1,
  eos_token_id: 2,
} as const;

const mixtral = {
  ...mistral,
  rms_norm_eps: 1e-5,
  rope_theta: 1_000_000,
  sliding_window: null,
  num_local_experts: 8,
  num_experts_per_tok: 2,
  router_jitter_noise: 0,
} as const;

const qwen2Moe = {
  ...common,
  vocab_size: 151_936,
  hidden_size: 2048,
  intermediate_size: 5632,
  num_hidden_layers: 24,
  num_attention_heads: 16,
  num_key_value_heads: 16,
  max_position_embeddings: 32_768,
  rope_theta: 10_000,
  sliding_window: 4096,
  use_sliding_window: false,
  max_window_layers: 28,
  decoder_sparse_step: 1,
  mlp_only_layers: [],
  num_experts: 60,
  num_experts_per_tok: 4,
  moe_intermediate_size: 1408,
  shared_expert_intermediate_size: 5632,
  norm_topk_prob: false,
  qkv_bias: true,
} as const;

/** What transformers 5.18 takes for a field that a file does not have. A null in a file is a value, not an absence. */
export const familyDefaults = { mistral, mixtral, qwen2_moe: qwen2Moe } as const;
