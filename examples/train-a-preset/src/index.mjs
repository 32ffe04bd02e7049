export { bitsPerByte, measureLoad, reportRouting, sample, survivesSaving } from './look-at-model.mjs';
export { readOptions } from './options.mjs';
export { trainPreset } from './train-preset.mjs';
