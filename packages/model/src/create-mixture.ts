import {
  type Experts,
  GeluExperts,
  SharedExpert,
  SharedProjectionExperts,
  SpecialisedExperts,
  StackedRmsNorm,
  SwiGluExperts,
  TransformerExperts,
} from '@therapeutic-moe/experts';
import { type LayerFactory, Linear, layersUnder, seedFor } from '@therapeutic-moe/nn';
import { HierarchicalRouter, type Router, SupervisorRouter, TopKRouter, TwoStageRouter } from '@therapeutic-moe/router';
import { type Deviations, MixtureFeedForward } from './feed-forward.js';
import { expertSize } from './mixture-layers.js';
import type { ModelConfig } from './model-config.js';

/** The parts of one layer's mixture, as the config names them. @param layers makes its matrices but the router's. */
export function createMixture(
  config: ModelConfig,
  deviations: Deviations,
  seed: number,
  layers: LayerFactory,
): MixtureFeedForward {
  const { capacity, sharedExpert } = config.mixture!;
  return new MixtureFeedForward({
    router: createRouter(config, deviations, seed),
    experts: createExperts(config, deviations, seedFor(seed, 'experts'), layersUnder(layers, 'experts')),
    ...(capacity && { capacity }),
    ...(sharedExpert && {
      sharedExpert: SharedExpert.create(
        { hidden: config.hiddenSize, intermediate: sharedExpert.intermediateSize },
        {
          deviation: deviations.inner,
          downDeviation: deviations.residual,
          gate: sharedExpert.gate,
          seed: seedFor(seed, 'shared_expert'),
        },
        layers,
      ),
    }),
  });
}

function createRouter({ hiddenSize, mixture }: ModelConfig, { inner }: Deviations, seed: number): Router {
  const {
    layers: _l,
    moeIntermediateSize: _m,
    domains: _d,
    router,
    experts: _e,
    capacity: _c,
    sharedExpert: _s,
    ...gate
  } = mixture!;
  const { numExperts, numExpertsPerTok, normTopkProb } = gate;
  const linear = (name: string, outputs: number) =>
    Linear.create(hiddenSize, outputs, { deviation: inner, seed: seedFor(seed, name) });
  if (!router) return new TopKRouter(linear('gate', numExperts), gate);
  if (router.kind === 'supervisor') {
    const { numAttentionHeads, gateSize } = router;
    return SupervisorRouter.create(
      { hiddenSize, gateSize },
      { numExperts, numExpertsPerTok, numAttentionHeads, causal: true, normTopkProb, cacheKey: 'router' },
      { deviation: inner, seed: seedFor(seed, 'supervisor') },
    );
  }
  const { numGroups } = router;
  const gates = { group: linear('group_gate', numGroups), expert: linear('expert_gate', numExperts) };
  if (router.kind === 'hierarchical')
    return new HierarchicalRouter(gates, { numExperts, numGroups, numExpertsPerTok, normTopkProb });
  const { topGroups, topExpertsPerGroup } = router;
  return new TwoStageRouter(gates, { numExperts, numGroups, topGroups, topExpertsPerGroup, normTopkProb });
}

function createExperts(
  config: ModelConfig,
  { inner, residual }: Deviations,
  seed: number,
  layers: LayerFactory,
): Experts {
  const { hiddenSize: hidden, rmsNormEps, mixture } = config;
  const { experts: kind, numExperts: experts, domains } = mixture!;
  const sizes = { experts, hidden, intermediate: expertSize(config) };
  const weights = { deviation: inner, downDeviation: residual, seed };
  if (!kind) return SwiGluExperts.create(sizes, weights, layers);
  if (kind.kind === 'gelu') return GeluExperts.create(sizes, weights, layers);
  if (kind.kind === 'shared-projection')
    return SharedProjectionExperts.create(sizes, { ...weights, rmsNormEps }, layers);
  if (kind.kind === 'transformer')
    return TransformerExperts.create({ ...sizes, heads: kind.numAttentionHeads }, { ...weights, rmsNormEps }, layers);
  const norm = StackedRmsNorm.create(experts, hidden, rmsNormEps);
  return new SpecialisedExperts(norm, SwiGluExperts.create(sizes, weights, layers), {
    dropout: kind.dropout,
    ...(domains && { domains }),
  });
}
