import { describe, expect, it } from 'vitest';
import { allToAllTraffic, choicesByDevice, placeUniformly } from './index.js';

const placement = placeUniformly({ experts: 3, bytesPerExpert: 1, sharedBytes: 0 }, { devices: 2 }); // [0, 1], [2]

describe('choicesByDevice', () => {
  it('counts the choices of each device by expert, tokens in blocks', () => {
    // Five tokens: three on the first device, two on the second.
    const counts = choicesByDevice([0, 1, 0, 2, 2, 1, 1, 0, 2, 0], 2, { experts: 3, devices: 2 });
    expect(counts).toEqual([
      [2, 2, 2],
      [2, 1, 1],
    ]);
  });

  it('refuses parts of tokens and strangers', () => {
    expect(() => choicesByDevice([0, 1, 2], 2, { experts: 3, devices: 2 })).toThrow(
      '3 choices are not whole tokens of 2',
    );
    expect(() => choicesByDevice([0, 3], 2, { experts: 3, devices: 1 })).toThrow('token 0 chose expert 3');
    expect(() => choicesByDevice([0], 1, { experts: 3, devices: 0 })).toThrow('devices must be a whole number of 1');
  });
});

describe('allToAllTraffic', () => {
  it('carries each choice there and its answer back', () => {
    const traffic = allToAllTraffic(
      placement,
      [
        [2, 3, 5],
        [7, 11, 13],
      ],
      20,
    );
    expect(traffic.dispatch).toEqual([
      [100, 100],
      [360, 260],
    ]);
    expect(traffic.combine).toEqual([
      [100, 360],
      [100, 260],
    ]);
    expect(traffic.localShare).toBeCloseTo((5 + 13) / 41, 12);
    expect(traffic.busiestSender).toBe(100 + 360); // each sends what it has and what it answers
  });

  it('is all local on one device', () => {
    const alone = placeUniformly({ experts: 3, bytesPerExpert: 1, sharedBytes: 0 }, { devices: 1 });
    expect(allToAllTraffic(alone, [[2, 3, 5]], 4)).toEqual({
      dispatch: [[40]],
      combine: [[40]],
      localShare: 1,
      busiestSender: 0,
    });
  });

  it('refuses counts of another placement, and none', () => {
    expect(() => allToAllTraffic(placement, [[1, 2, 3]], 4)).toThrow(
      'counts must be [2][3] like the placement, got 1 rows of 3.',
    );
    expect(() =>
      allToAllTraffic(
        placement,
        [
          [0, 0, 0],
          [0, 0, 0],
        ],
        4,
      ),
    ).toThrow('0 bytes were routed in all');
  });
});
