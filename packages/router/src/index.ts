export {
  type CapacityConfig,
  type CapacityLimits,
  type CapacityPlan,
  capacityPlan,
  type DropBy,
  expertCapacity,
  resolveCapacityConfig,
} from './capacity.js';
export { expertLoad, klToUniform, maskedMean, switchLoss, zLoss } from './losses.js';
export { constant, planRows, visitsOf } from './plan-rows.js';
export { type RouterConfig, resolveRouterConfig } from './router-config.js';
export type { RoutePass, Router, Routing, SequenceCache } from './routing.js';
export { oneHotFloat, takeChosen, topKIndices } from './top-k.js';
export { TopKRouter } from './top-k-router.js';
export { type UsageStatistics, usageStatistics } from './usage-statistics.js';
