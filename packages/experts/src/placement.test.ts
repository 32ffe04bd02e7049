import { describeOnBackends } from '@therapeutic-moe/test-kit';
import { describe, expect, it } from 'vitest';
import { createExperts, createScaledExperts, HIDDEN, INTERMEDIATE } from '../test/create-pool.js';
import { type ExpertSizes, expertSizes, placeByLoad, placeUniformly, withLoad } from './index.js';

const sizes = (experts: number): ExpertSizes => ({ experts, bytesPerExpert: 100, sharedBytes: 7 });

/** Loads without a pattern, and some of them nearly idle. */
const loadsOf = (experts: number, seed: number) =>
  Array.from({ length: experts }, (_, e) => Math.abs(Math.sin(seed + 1.7 * e + 0.31 * e * e)) ** 3);

/** The least that the busiest device can have, by trying every placement. */
function bestBusiest(load: readonly number[], devices: number): number {
  const place = (expert: number, loads: number[]): number => {
    if (expert === load.length) return Math.max(...loads);
    return Math.min(
      ...loads.map((_, device) =>
        place(
          expert + 1,
          loads.map((held, d) => (d === device ? held + load[expert]! : held)),
        ),
      ),
    );
  };
  return place(0, new Array<number>(devices).fill(0));
}

describe('placeUniformly', () => {
  it('gives neighbouring experts to each device, the first ones one more, and counts bytes', () => {
    expect(placeUniformly(sizes(7), { devices: 3 })).toEqual({
      deviceOf: [0, 0, 0, 1, 1, 2, 2],
      expertsOf: [
        [0, 1, 2],
        [3, 4],
        [5, 6],
      ],
      bytes: [307, 207, 207],
    });
  });

  it('refuses idle devices and devices that are too small', () => {
    expect(() => placeUniformly(sizes(3), { devices: 5 })).toThrow(
      'placeUniformly: 5 devices for 3 experts would leave some idle; use at most 3.',
    );
    expect(() => placeUniformly(sizes(7), { devices: 3, capacityBytes: 306 })).toThrow(
      '7 experts on 3 devices put 3 on one, 307 bytes, but capacityBytes is 306; use more devices or smaller experts.',
    );
    expect(() => placeUniformly({ ...sizes(7), bytesPerExpert: Number.NaN }, { devices: 2 })).toThrow(
      'an expert of NaN bytes',
    );
    expect(() => placeUniformly(sizes(7), { devices: 0 })).toThrow(
      'devices must be a whole number of 1 or more, got 0',
    );
  });
});

describe('placeByLoad', () => {
  it('places every expert once, fills every device, and holds the capacity', () => {
    for (let seed = 1; seed <= 40; seed++) {
      const [experts, devices] = [5 + (seed % 13), 2 + (seed % 4)];
      const capacityBytes = 7 + 100 * (Math.ceil(experts / devices) + (seed % 2));
      const { expertsOf, deviceOf, bytes, load } = placeByLoad(
        sizes(experts),
        { devices, capacityBytes },
        loadsOf(experts, seed),
      );
      expect(expertsOf.flat().sort((a, b) => a - b)).toEqual(deviceOf.map((_, expert) => expert));
      for (const [device, held] of expertsOf.entries()) {
        expect(held.length).toBeGreaterThan(0);
        expect(held.every((expert) => deviceOf[expert] === device)).toBe(true);
        expect(bytes[device]).toBe(7 + 100 * held.length);
        expect(bytes[device]).toBeLessThanOrEqual(capacityBytes);
      }
      expect(load.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 12);
    }
  });

  it('stays within 4/3 - 1/(3 devices) of the best placement there is', () => {
    for (let seed = 1; seed <= 12; seed++) {
      const [load, devices] = [loadsOf(7, seed), 3];
      const total = load.reduce((sum, share) => sum + share, 0);
      const busiest = Math.max(...placeByLoad(sizes(7), { devices }, load).load) * total;
      expect(busiest).toBeLessThanOrEqual((4 / 3 - 1 / (3 * devices)) * bestBusiest(load, devices) + 1e-9);
    }
  });

  it('improves on longest-first where that is not the best', () => {
    // Longest first gives 3 + 2 + 2 against 3 + 2; a swap gives 3 + 3 against 2 + 2 + 2.
    const { imbalance, expertsOf } = placeByLoad(sizes(5), { devices: 2 }, [3, 3, 2, 2, 2]);
    expect(imbalance).toBeCloseTo(1, 12);
    expect(expertsOf).toContainEqual([0, 1]);
  });

  it('is never busier than the uniform plan of the same load, where room is for equal numbers only', () => {
    for (let seed = 1; seed <= 20; seed++) {
      const load = loadsOf(12, seed);
      const devices = { devices: 4, capacityBytes: 307 };
      const uniform = withLoad(placeUniformly(sizes(12), devices), load);
      expect(placeByLoad(sizes(12), devices, load).imbalance).toBeLessThanOrEqual(uniform.imbalance + 1e-9);
    }
  });

  it('refuses a load of other experts', () => {
    expect(() => placeByLoad(sizes(5), { devices: 2 }, [1, 2])).toThrow(
      'load must have one number per expert, 5, got 2',
    );
    expect(() => withLoad(placeUniformly(sizes(3), { devices: 2 }), [1])).toThrow(
      'withLoad: load must have one number',
    );
  });
});

describeOnBackends('expertSizes', () => {
  it('tells what each expert weighs from what all share', () => {
    const [plain, scaled] = [createExperts(3), createScaledExperts(3)];
    const bytesPerExpert = 4 * 3 * HIDDEN * INTERMEDIATE;
    expect(expertSizes(plain)).toEqual({ experts: 3, bytesPerExpert, sharedBytes: 0 });
    expect(expertSizes(scaled)).toEqual({ experts: 3, bytesPerExpert, sharedBytes: 4 * HIDDEN });
    plain.dispose();
    scaled.dispose();
  });
});
