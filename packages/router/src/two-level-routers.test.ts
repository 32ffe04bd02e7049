import * as tf from '@tensorflow/tfjs-core';
import { Linear } from '@therapeutic-moe/nn';
import { describeOnBackends, expectClose } from '@therapeutic-moe/test-kit';
import { describe, expect, it } from 'vitest';
import { softmax } from '../test/reference-route.js';
import {
  type HierarchicalConfig,
  HierarchicalRouter,
  type TwoLevelGates,
  type TwoStageConfig,
  TwoStageRouter,
} from './index.js';

/** float32 products of exponentials. */
const CLOSE = 1e-5;
const [HIDDEN, GROUPS, SIZE, TOKENS] = [7, 5, 3, 23];
const EXPERTS = GROUPS * SIZE;

const gates = (): TwoLevelGates => ({
  group: Linear.create(HIDDEN, GROUPS, { deviation: 0.7, seed: 3 }),
  expert: Linear.create(HIDDEN, EXPERTS, { deviation: 0.7, seed: 5 }),
});
const tokens = () => tf.randomNormal<tf.Rank.R2>([TOKENS, HIDDEN], 0, 1, 'float32', 2);
const twoStage: TwoStageConfig = {
  numExperts: 15,
  numGroups: 5,
  topGroups: 2,
  topExpertsPerGroup: 2,
  normTopkProb: false,
};
const hierarchical: HierarchicalConfig = { numExperts: 15, numGroups: 5, numExpertsPerTok: 4, normTopkProb: false };

const best = (values: readonly number[], n: number) =>
  values
    .map((_, i) => i)
    .sort((a, b) => values[b]! - values[a]!)
    .slice(0, n);

/** p(group) and p(expert | group) of one token, by hand. */
function probabilitiesOf(groupGate: number[], expertGate: number[]) {
  const group = softmax(groupGate);
  const within = group.map((_, g) => softmax(expertGate.slice(g * SIZE, (g + 1) * SIZE)));
  return { group, within, joint: within.flatMap((inside, g) => inside.map((p) => p * group[g]!)) };
}

describeOnBackends('TwoStageRouter', () => {
  it('chooses groups, then experts inside each, and weighs by the product of both probabilities', async () => {
    const [router, hidden] = [new TwoStageRouter(gates(), twoStage), tokens()];
    const routing = router.route(hidden);
    const [groupGates, expertGates] = (await Promise.all(routing.gates.map((gate) => gate.array()))) as number[][][];
    const [indices, weights] = [await routing.indices.array(), (await routing.weights.array()) as number[][]];
    for (let t = 0; t < TOKENS; t++) {
      const { group, within, joint } = probabilitiesOf(groupGates![t]!, expertGates![t]!);
      const chosen = best(group, 2).flatMap((g) => best(within[g]!, 2).map((e) => g * SIZE + e));
      chosen.sort((a, b) => joint[b]! - joint[a]!);
      expect(indices[t], `token ${t}`).toEqual(chosen);
      await expectClose(
        weights[t]!,
        chosen.map((e) => joint[e]!),
        CLOSE,
      );
    }
    tf.dispose([hidden, routing]);
    router.dispose();
  });

  it('of one group is plain top-k over its experts, and of groups of one plain top-k over groups', async () => {
    const hidden = tokens();
    const one = { numExperts: 15, topExpertsPerGroup: 1, normTopkProb: true };
    const flat = new TwoStageRouter(
      { group: Linear.create(HIDDEN, 1, { seed: 1 }), expert: gates().expert },
      { ...one, numGroups: 1, topGroups: 1, topExpertsPerGroup: 3 },
    );
    const single = new TwoStageRouter(
      { group: gates().expert, expert: Linear.create(HIDDEN, 15, { seed: 1 }) },
      { ...one, numGroups: 15, topGroups: 3 },
    );
    const [a, b] = [flat.route(hidden), single.route(hidden)];
    expect(await a.indices.array()).toEqual(await b.indices.array());
    await expectClose(a.weights, b.weights, CLOSE);
    tf.dispose([hidden, a, b]);
    flat.dispose();
    single.dispose();
  });
});

describeOnBackends('HierarchicalRouter', () => {
  it('chooses the experts of the largest joint probability, of any group', async () => {
    const [router, hidden] = [new HierarchicalRouter(gates(), hierarchical), tokens()];
    const routing = router.route(hidden);
    const [groupGates, expertGates] = (await Promise.all(routing.gates.map((gate) => gate.array()))) as number[][][];
    const [indices, weights] = [await routing.indices.array(), (await routing.weights.array()) as number[][]];
    for (let t = 0; t < TOKENS; t++) {
      const { joint } = probabilitiesOf(groupGates![t]!, expertGates![t]!);
      const chosen = best(joint, 4);
      expect(indices[t], `token ${t}`).toEqual(chosen);
      await expectClose(
        weights[t]!,
        chosen.map((e) => joint[e]!),
        CLOSE,
      );
    }
    tf.dispose([hidden, routing]);
    router.dispose();
  });

  it('chooses as two stages do only where the best experts lie so', async () => {
    const [hidden, together] = [tokens(), gates()];
    const [a, b] = [new TwoStageRouter(together, twoStage), new HierarchicalRouter(together, hierarchical)];
    const [stages, levels] = [a.route(hidden), b.route(hidden)];
    await expectClose(stages.probabilities, levels.probabilities, 0);
    const [one, other] = [await stages.indices.array(), await levels.indices.array()];
    expect(one).not.toEqual(other);
    tf.dispose([hidden, stages, levels]);
    a.dispose();
  });
});

describe('two-level routers', () => {
  it.each<[Record<string, unknown>, string]>([
    [{ numGroups: 4 }, 'two-stage router: numGroups is 4 but numExperts is 15; it must divide it'],
    [{ topGroups: 7 }, 'two-stage router: topGroups is 7 but numGroups is 5; a token cannot visit more groups'],
    [{ topExpertsPerGroup: 5 }, 'topExpertsPerGroup is 5 but groupSize is 3; a token cannot visit more experts than a'],
    [{ topGroups: 0 }, 'two-stage router: topGroups must be a whole number of 1 or more, got 0.'],
    [{ normTopkProb: 1 }, 'two-stage router: normTopkProb must be true or false, got 1.'],
    [{ k: 2 }, "two-stage router: unknown key 'k'"],
    [{ numGroups: 3 }, 'the group gate gives 5 logits but numGroups is 3; they must be equal.'],
  ])('in two stages refuse %j', (change, message) => {
    expect(() => new TwoStageRouter(gates(), { ...twoStage, ...change } as TwoStageConfig)).toThrow(message);
  });

  it.each<[Record<string, unknown>, string]>([
    [{ numGroups: 4 }, 'hierarchical router: numGroups is 4 but numExperts is 15; it must divide it'],
    [{ numExpertsPerTok: 17 }, 'hierarchical router: numExpertsPerTok is 17 but numExperts is 15'],
    [{ normTopkProb: undefined }, 'hierarchical router: normTopkProb must be true or false, got undefined.'],
    [{ k: 2 }, "hierarchical router: unknown key 'k'"],
    [{ numExperts: 30 }, 'the expert gate gives 15 logits but numExperts is 30; they must be equal.'],
  ])('in two levels refuse %j', (change, message) => {
    expect(() => new HierarchicalRouter(gates(), { ...hierarchical, ...change } as HierarchicalConfig)).toThrow(
      message,
    );
  });

  it('refuse gates of different widths', () => {
    const mixed = { group: gates().group, expert: Linear.create(11, EXPERTS, { seed: 1 }) };
    expect(() => new HierarchicalRouter(mixed, hierarchical)).toThrow(
      'the group gate takes 7 and the expert gate 11 hidden numbers; they must be equal.',
    );
  });
});
