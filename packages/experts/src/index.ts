export {
  type ApplyOptions,
  applyExperts,
  applyPlanned,
  applyWithCapacity,
  type CapacityOptions,
  type CapacityOutput,
  type Dispatch,
  defaultDispatch,
} from './dispatch.js';
export type { ExpertPass, ExpertRows, Experts, Sequences } from './experts.js';
export type { HiddenAct } from './gelu.js';
export { type GeluBiases, GeluExperts } from './gelu-experts.js';
export { SharedExpert } from './shared-expert.js';
export { SharedProjectionExperts } from './shared-projection-experts.js';
export { type SortPlan, sortByExpert } from './sort-plan.js';
export { type DeviceSortPlan, sortByExpertOnDevice } from './sort-plan-on-device.js';
export { type Specialisation, SpecialisedExperts } from './specialised-experts.js';
export { splitExperts } from './split-experts.js';
export { StackedRmsNorm } from './stacked-rms-norm.js';
export { StackedVector } from './stacked-vector.js';
export { SwiGluExperts } from './swi-glu-experts.js';
export { TransformerExperts, type TransformerParts } from './transformer-experts.js';
