import type { GroupLimit, RouterConfig } from '../src/index.js';

/** Where one token goes: chosen experts, best first, and their weights. */
export interface ReferenceRoute {
  readonly indices: number[];
  readonly weights: number[];
  readonly probabilities: number[];
}

/** Top-k routing of one token by sorting, in float64: the plain form that `TopKRouter` is tested against. */
export function referenceRoute(
  gate: readonly number[],
  config: RouterConfig,
  bias?: readonly number[],
): ReferenceRoute {
  const scores = config.scoring === 'sigmoid' ? gate.map((x) => 1 / (1 + Math.exp(-x))) : softmax(gate);
  const biased = scores.map((score, e) => score + (bias?.[e] ?? 0));
  const open = config.groups ? openExperts(biased, config.groups) : biased.map((_, e) => e);
  const indices = open.sort((a, b) => biased[b]! - biased[a]! || a - b).slice(0, config.numExpertsPerTok);
  const chosen = indices.map((e) => scores[e]!);
  const divisor = config.normTopkProb ? sum(chosen) : 1;
  return {
    indices,
    weights: chosen.map((score) => (score / divisor) * (config.routedScalingFactor ?? 1)),
    probabilities: scores.map((score) => score / sum(scores)),
  };
}

export function softmax(values: readonly number[]): number[] {
  const powers = values.map((x) => Math.exp(x - Math.max(...values)));
  return powers.map((power) => power / sum(powers));
}

function openExperts(scores: readonly number[], { numGroups, topGroups, score }: GroupLimit): number[] {
  const size = scores.length / numGroups;
  const groups = Array.from({ length: numGroups }, (_, g) => {
    const best = scores.slice(g * size, (g + 1) * size).sort((a, b) => b - a);
    return { g, score: score === 'max' ? best[0]! : best[0]! + best[1]! };
  });
  const chosen = groups.sort((a, b) => b.score - a.score).slice(0, topGroups);
  return chosen.flatMap(({ g }) => Array.from({ length: size }, (_, i) => g * size + i));
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
