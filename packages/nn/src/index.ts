export { dims } from './dims.js';
export { Embedding, type EmbeddingLayer } from './embedding.js';
export { filledVariable, normalVariable, seedFor } from './initialise.js';
export { refuseUnknownKeys } from './known-keys.js';
export { type FreshWeights, freshLayers, type LayerFactory, layersUnder, unfilledLayers } from './layer-factory.js';
export { type ApplyContext, type BaseLinear, Linear, type LinearLayer } from './linear.js';
export { joinParameters, type Parameters } from './parameters.js';
export { RmsNorm } from './rms-norm.js';
export { type StackedLayer, StackedLinear } from './stacked-linear.js';
