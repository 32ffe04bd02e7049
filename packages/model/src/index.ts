export { CausalLm, type ForwardOptions, type ForwardResult } from './causal-lm.js';
export { DecoderSession } from './decoder-session.js';
export { configFromHuggingFace, configToHuggingFace } from './hugging-face/config.js';
export { loadModelDirectory, readModelConfig, saveModelDirectory } from './hugging-face/directory.js';
export { loadAdapter, mergeLora } from './model-adapter.js';
export { type MixtureConfig, type ModelConfig, resolveConfig } from './model-config.js';
export { countParameters, kvValuesPerToken, type ParameterCount } from './parameter-count.js';
export { presets, therapeuticDomains } from './presets.js';
export {
  type AuxiliaryWeights,
  type TokenBatch,
  type TrainableModel,
  type TrainingLoss,
  trainable,
} from './trainable.js';
