import { Linear } from '@therapeutic-moe/nn';
import { HierarchicalRouter, type RouterConfig, SupervisorRouter, TopKRouter, TwoStageRouter } from '../src/index.js';
import { describeRouter, HIDDEN } from './router-conformance.js';

const gate = (outputs: number, seed: number) => Linear.create(HIDDEN, outputs, { deviation: 1, seed });

const topK = (settings: Partial<RouterConfig> = {}) =>
  new TopKRouter(gate(15, 7), {
    numExperts: 15,
    numExpertsPerTok: 4,
    softmaxOrder: 'before-top-k',
    normTopkProb: true,
    ...settings,
  });

describeRouter('TopKRouter', () => topK());
describeRouter('TopKRouter after top-k, with noise', () =>
  topK({ softmaxOrder: 'after-top-k', routerJitterNoise: 0.1, gateNoise: 0.5 }),
);
describeRouter('TopKRouter by sigmoid in groups', () =>
  topK({ scoring: 'sigmoid', groups: { numGroups: 5, topGroups: 2, score: 'sum-of-top-2' }, balanceBias: true }),
);
describeRouter('TopKRouter of all experts', () => topK({ numExpertsPerTok: 15 }));
describeRouter('TwoStageRouter', () => {
  const config = { numExperts: 15, numGroups: 5, topGroups: 2, topExpertsPerGroup: 2, normTopkProb: true };
  return new TwoStageRouter({ group: gate(5, 7), expert: gate(15, 11) }, config);
});
describeRouter('HierarchicalRouter', () => {
  const config = { numExperts: 15, numGroups: 5, numExpertsPerTok: 4, normTopkProb: true };
  return new HierarchicalRouter({ group: gate(5, 7), expert: gate(15, 11) }, config);
});
for (const causal of [true, false]) {
  describeRouter(`SupervisorRouter with causal ${causal}`, () => {
    const config = { numExperts: 32, numExpertsPerTok: 3, numAttentionHeads: 2, causal, normTopkProb: true };
    return SupervisorRouter.create(
      { hiddenSize: HIDDEN, gateSize: 13 },
      { ...config, cacheKey: 'layers.0.router' },
      { deviation: 0.7, seed: 7 },
    );
  });
}
