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
export { type SortPlan, sortByExpert } from './sort-plan.js';
export { type DeviceSortPlan, sortByExpertOnDevice } from './sort-plan-on-device.js';
export { SwiGluExperts } from './swi-glu-experts.js';
