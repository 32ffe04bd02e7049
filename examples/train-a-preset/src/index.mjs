export { documents } from './corpus.mjs';
export { bitsPerByte, reportRouting, routeRows, sample, survivesSaving } from './look-at-model.mjs';
export { readOptions } from './options.mjs';
export { trainPreset } from './train-preset.mjs';
