export { type Comparable, expectClose } from './expect-close.js';
export { expectGradient, type GradientCheck } from './expect-gradient.js';
export { expectNoLeak } from './expect-no-leak.js';
export { describeOnBackends, testBackends } from './test-backends.js';
export { valueAndGradients } from './value-and-gradients.js';
