export { loadAdapter, mergeLora } from '@therapeutic-moe/lora';
export type { AttentionKind, DomainAttentionConfig, PartialAttentionKind } from './attention-config.js';
export type { AuxiliaryWeights } from './auxiliary-losses.js';
export { CausalLm, type ForwardOptions, type ForwardResult } from './causal-lm.js';
export { DecoderSession, type SessionOptions } from './decoder-session.js';
export type { MixtureFeedForward } from './feed-forward.js';
export { configFromHuggingFace } from './hugging-face/config.js';
export { configToHuggingFace } from './hugging-face/config-to-hugging-face.js';
export { type HuggingFaceFamily, type HuggingFaceForm, requireHuggingFaceForm } from './hugging-face/family.js';
export { blockValuesPerToken, fullSessionBytes, keptTokens, kvBytesPerToken, kvValuesPerToken } from './kv-bytes.js';
export {
  type MemoryPlan,
  type MemoryPlanOptions,
  memoryPlan,
  type ServingMemory,
  type TrainingMemory,
} from './memory-plan.js';
export type {
  ExpertKind,
  MixtureConfig,
  PartialMixtureConfig,
  RouterKind,
  SharedExpertConfig,
} from './mixture-config.js';
export { type ConfigOverrides, type ModelConfig, type PartialConfig, resolveConfig } from './model-config.js';
export { configFromJson, loadModelDirectory, readModelConfig } from './model-directory.js';
export { countParameters, type ParameterCount } from './parameter-count.js';
export type { PositionsConfig } from './positions-config.js';
export { type PresetName, presetGaps, presets, therapeuticDomains } from './presets.js';
export { type PrunedModel, pruneModel } from './prune-model.js';
export { maxPositions } from './rotary-positions.js';
export {
  type SaveModelOptions,
  type SaveProgress,
  saveHuggingFace,
  saveModelDirectory,
} from './save-model-directory.js';
export {
  type TokenBatch,
  type TrainableModel,
  type TrainingLoss,
  trainable,
} from './trainable.js';
export type { DomainPrompt } from './upcycle/domain-prompts.js';
export {
  type UpcycleDirectoryOptions,
  type UpcycledCheckpoint,
  upcycleDirectory,
} from './upcycle/upcycle-directory.js';
export { type UpcycledMixture, upcycledConfig } from './upcycle/upcycled-config.js';
export { type WeightDtype, weightDtypes } from './weight-dtype.js';
