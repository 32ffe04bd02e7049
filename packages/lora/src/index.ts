export { attachLora, detachLora, type LinearHost, LoraAdapter } from './adapter.js';
export { type ExportAdapterOptions, exportAdapter, exportTrainedAdapter } from './export-adapter.js';
export { defaultLoraConfig, type LoraConfig, resolveLoraConfig } from './lora-config.js';
export { LoraLinear } from './lora-linear.js';
export { countLoraParameters, type LoraLayerConfig } from './lora-plan.js';
export { loraPlusFactor } from './lora-plus-factor.js';
export { loadAdapterWeights, readAdapterConfig, saveAdapter } from './peft-files.js';
