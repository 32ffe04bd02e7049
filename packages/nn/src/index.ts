export { dims } from './dims.js';
export { Embedding } from './embedding.js';
export { filledVariable, normalVariable, seedFor } from './initialise.js';
export { refuseUnknownKeys } from './known-keys.js';
export { type ApplyContext, type BaseLinear, Linear, type LinearLayer } from './linear.js';
export { joinParameters, type Parameters } from './parameters.js';
export { RmsNorm } from './rms-norm.js';
export { StackedLinear } from './stacked-linear.js';
