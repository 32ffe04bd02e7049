export { applyExperts, type Dispatch, defaultDispatch } from './dispatch.js';
export { type SortPlan, sortByExpert } from './sort-plan.js';
export { SwiGluExperts } from './swi-glu-experts.js';
