export { expertLoad, klToUniform, maskedMean, switchLoss, zLoss } from './losses.js';
export { type RouterConfig, resolveRouterConfig } from './router-config.js';
export type { RoutePass, Router, Routing, SequenceCache } from './routing.js';
export { oneHotFloat, takeChosen, topKIndices } from './top-k.js';
export { TopKRouter } from './top-k-router.js';
export { type UsageStatistics, usageStatistics } from './usage-statistics.js';
