import * as tf from '@tensorflow/tfjs-core';
import { describeOnBackends, expectClose } from '@therapeutic-moe/test-kit';
import { expect, it } from 'vitest';
import { type Specialisation, SpecialisedExperts, StackedRmsNorm, SwiGluExperts } from './index.js';

const TOKENS = 101;
const HIDDEN = 53;
const EXPERTS = 3;

const inner = () =>
  SwiGluExperts.create(
    { experts: EXPERTS, hidden: HIDDEN, intermediate: 2 },
    { deviation: 1, downDeviation: 1, seed: 1 },
  );

const specialised = (specialisation: Specialisation) =>
  new SpecialisedExperts(StackedRmsNorm.create(EXPERTS, HIDDEN, 1e-5), inner(), specialisation);

/** What the feed-forward of an expert is given: 0 where dropped. */
function inputs(layer: SpecialisedExperts, expert: number, seed?: number): tf.Tensor2D {
  let given: tf.Tensor2D | undefined;
  layer.inner.applyExpert = (x) => {
    given = tf.keep(tf.clone(x));
    return x;
  };
  tf.tidy(() => {
    const visits = tf.ones<tf.Rank.R1>([TOKENS]);
    layer.applyExpert(tf.ones([TOKENS, HIDDEN]), expert, visits, seed === undefined ? {} : { seed });
  });
  return given!;
}

describeOnBackends('SpecialisedExperts', () => {
  it('drops the named share, scales the rest up, and differs between experts and passes', async () => {
    const layer = specialised({ dropout: 0.3 });
    const draws = [inputs(layer, 0, 5), inputs(layer, 1, 5), inputs(layer, 0, 7), inputs(layer, 0, 5)];
    const kept = await Promise.all(draws.map(async (x) => [...(await x.data())].map((value) => value > 0)));
    const agreement = (a: boolean[], b: boolean[]) => a.filter((value, i) => value === b[i]).length / a.length;
    for (const mask of kept) expect(mask.filter(Boolean).length / mask.length).toBeCloseTo(0.7, 1);
    expect(agreement(kept[0]!, kept[1]!)).toBeLessThan(0.7); // chance alone: 0.58
    expect(agreement(kept[0]!, kept[2]!)).toBeLessThan(0.7);
    expect(kept[0]).toEqual(kept[3]);
    const largest = tf.max(draws[0]!);
    await expectClose(largest, [1 / 0.7], 1e-4);
    tf.dispose([draws, largest]);
    layer.dispose();
  });

  it('drops nothing without a seed', async () => {
    const layer = specialised({ dropout: 0.3 });
    const given = inputs(layer, 2);
    await expectClose(given, new Array(TOKENS * HIDDEN).fill(1), 1e-4);
    given.dispose();
    layer.dispose();
  });

  it('knows its domains until it is rebuilt', () => {
    const layer = specialised({ domains: ['psychology', 'mental_health', 'bias_detection'], dropout: 0 });
    const rebuilt = layer.rebuild((stacked) => stacked);
    expect(layer.specialisation.domains).toEqual(['psychology', 'mental_health', 'bias_detection']);
    expect(rebuilt.specialisation).toEqual({ dropout: 0 });
    expect([...layer.parameters().keys()]).toEqual(['norm', 'gate_up_proj', 'down_proj']);
    layer.dispose();
    rebuilt.dispose();
  });

  it('refuses domains, dropout and norms that do not fit', () => {
    const [norm, wide, experts] = [
      StackedRmsNorm.create(EXPERTS, HIDDEN, 1e-5),
      StackedRmsNorm.create(EXPERTS, 7, 1e-5),
      inner(),
    ];
    const make = (specialisation: Specialisation) => new SpecialisedExperts(norm, experts, specialisation);
    expect(() => make({ domains: ['psychology', 'bias_detection'], dropout: 0 })).toThrow(
      'domains names 2 (psychology, bias_detection) but there are 3 experts; give one name each.',
    );
    expect(() => make({ domains: ['a', 'b', 'a'], dropout: 0 })).toThrow("must be different and not empty, got 'a'");
    expect(() => make({ dropout: 1 })).toThrow('dropout must be in [0, 1), got 1.');
    expect(() => new SpecialisedExperts(wide, experts, { dropout: 0 })).toThrow(
      'norm must be [3, 53] for its experts, got [3, 7].',
    );
    for (const part of [norm, wide, experts]) part.dispose();
  });
});
