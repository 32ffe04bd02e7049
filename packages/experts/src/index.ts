export { type ApplyOptions, applyExperts, applyPlanned, type Dispatch, defaultDispatch } from './dispatch.js';
export type { ExpertPass, ExpertRows, Experts } from './experts.js';
export { type SortPlan, sortByExpert } from './sort-plan.js';
export { SwiGluExperts } from './swi-glu-experts.js';
