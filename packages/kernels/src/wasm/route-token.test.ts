import { describe, expect, it } from 'vitest';
import { routeToken } from './route-token.js';

const logits = Float32Array.of(0.5, 2, -1, 2, 1);

describe('routeToken', () => {
  it('takes the best first, among equals the lower index', () => {
    expect([...routeToken(logits, 3, true).indices]).toEqual([1, 3, 4]);
    expect([...routeToken(logits, 5, true).indices]).toEqual([1, 3, 4, 0, 2]);
  });

  it('weighs by the probabilities of all experts, or so that the chosen add up to 1', () => {
    const powers = [...logits].map(Math.exp);
    const all = powers.reduce((a, b) => a + b, 0);
    const plain = routeToken(logits, 3, false);
    for (const [i, power] of powers.entries()) expect(plain.probabilities[i]).toBeCloseTo(power / all, 6);
    expect([...plain.weights]).toEqual([1, 3, 4].map((i) => plain.probabilities[i]));
    const { weights } = routeToken(logits, 3, true);
    const chosen = powers[1]! + powers[3]! + powers[4]!;
    for (const [i, expert] of [1, 3, 4].entries()) expect(weights[i]).toBeCloseTo(powers[expert]! / chosen, 6);
  });

  it('keeps its digits for logits far from 0', () => {
    const { weights } = routeToken(
      logits.map((logit) => logit + 1024),
      2,
      true,
    );
    expect([...weights]).toEqual([0.5, 0.5]);
  });

  it('never routes by a number that is not finite', () => {
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      expect(() => routeToken(Float32Array.of(1, 2, bad), 1, true)).toThrow(
        `decodeLayer: the gate logit of expert 2 is ${bad}; the hidden state or the gate is not finite.`,
      );
    }
  });
});
