export { type AddOptions, addExpert, type OpenOptions, openExpert } from './add-expert.js';
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
export {
  type Distilled,
  type DistillOptions,
  distillationLoss,
  distillExpert,
  type ExpertOf,
} from './distill-expert.js';
export { type ExpertPool, type PoolChange, selectExperts } from './expert-pool.js';
export type { ExpertPass, ExpertRows, Experts, Sequences } from './experts.js';
export type { HiddenAct } from './gelu.js';
export { type GeluBiases, GeluExperts } from './gelu-experts.js';
export { type Merged, mergeExperts } from './merge-experts.js';
export { type Noise, noiseAdder } from './noise.js';
export {
  type Devices,
  type ExpertSizes,
  expertSizes,
  type LoadedPlacement,
  type Placement,
  placeByLoad,
  placeUniformly,
  withLoad,
} from './placement.js';
export { type Pruned, type PruneRule, pruneExperts } from './prune-experts.js';
export { type HostExpert, type PagingCounts, ResidentExperts, type ResidentOptions } from './resident-experts.js';
export { applySharded, type ShardPlan, shardExperts, sortByDevice } from './sharded-experts.js';
export { SharedExpert } from './shared-expert.js';
export { SharedProjectionExperts } from './shared-projection-experts.js';
export { type SortPlan, sortByExpert } from './sort-plan.js';
export { type DeviceSortPlan, sortByExpertOnDevice } from './sort-plan-on-device.js';
export {
  type DomainTable,
  domainShares,
  domainTable,
  expertDomainInformation,
  expertPurity,
} from './specialisation.js';
export { type Specialisation, SpecialisedExperts } from './specialised-experts.js';
export { splitExperts } from './split-experts.js';
export { StackedRmsNorm } from './stacked-rms-norm.js';
export { StackedVector } from './stacked-vector.js';
export { SwiGluExperts } from './swi-glu-experts.js';
export { allToAllTraffic, choicesByDevice, type Traffic } from './traffic.js';
export { TransformerExperts, type TransformerParts } from './transformer-experts.js';
export { type UpcycleOptions, upcycleExperts } from './upcycle-experts.js';
