export {
  type CapacityConfig,
  type CapacityLimits,
  type CapacityPlan,
  capacityPlan,
  type DropBy,
  expertCapacity,
  resolveCapacityConfig,
} from './capacity.js';
export { type ExpertChoice, expertChoice } from './expert-choice.js';
export { type ExpertChoiceConfig, ExpertChoiceRouter, type ExpertChoiceRouting } from './expert-choice-router.js';
export { assertFiniteRouting, finiteProbe } from './finite-routing.js';
export type { GroupLimit } from './group-limit.js';
export { type HierarchicalConfig, HierarchicalRouter, resolveHierarchicalConfig } from './hierarchical-router.js';
export type { LoadPoint } from './load-series.js';
export { expertLoad, klToUniform, maskedMean, mseToUniform, sequenceBalanceLoss, switchLoss, zLoss } from './losses.js';
export { constant, planRows, visitsOf } from './plan-rows.js';
export { type RouterConfig, resolveRouterConfig } from './router-config.js';
export { type RouterLosses, type RouterLossWeights, routerLosses, sumOverLayers } from './router-losses.js';
export type { RoutePass, Router, Routing, SequenceCache } from './routing.js';
export { type LayerChoices, type RoutingReplay, recordRouting, replayTensor } from './routing-replay.js';
export {
  resolveSupervisorConfig,
  type SupervisorConfig,
  type SupervisorLayers,
  SupervisorRouter,
} from './supervisor-router.js';
export { oneHotFloat, takeChosen, topKIndices } from './top-k.js';
export { TopKRouter } from './top-k-router.js';
export type { TwoLevelGates } from './two-level-gates.js';
export { resolveTwoStageConfig, type TwoStageConfig, TwoStageRouter } from './two-stage-router.js';
export { type LayerUsage, UsageRecorder, type UsageRecorderConfig } from './usage-recorder.js';
export { type UsageStatistics, usageStatistics } from './usage-statistics.js';
export type { RoutedTokens } from './usage-sums.js';
