export { absorbLora, attachLora, detachLora, LoraAdapter } from './adapter.js';
export { type AdapterSwitch, adapterSwitch, type LinearHost, type LinearSlot } from './linear-host.js';
export { defaultLoraConfig, type LoraConfig, resolveLoraConfig } from './lora-config.js';
export { LoraLinear } from './lora-linear.js';
export { countLoraParameters, type LoraLayerConfig } from './lora-plan.js';
export { loraPlusFactor } from './lora-plus-factor.js';
export { type ColumnRange, LoraUpdate } from './lora-update.js';
export { loadAdapterWeights, readAdapterConfig, saveAdapter } from './peft-files.js';
