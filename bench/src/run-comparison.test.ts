import { describe, expect, it } from 'vitest';
import { type Comparison, type Lab, PeerMissing, type Timing } from './comparison.js';
import { chooseComparisons, comparisons } from './comparisons.js';
import { timing } from './measure.js';
import { makeReport, renderTable } from './report.js';
import { runComparison } from './run-comparison.js';

const lab: Lab = {
  repeats: 3,
  naiveRepeats: 1,
  backends: async () => ['wasm'],
  node: async () => timing([2, 4, 3]),
  python: async () => timing([9, 6]),
};

/** A comparison whose contenders note that they were measured. */
function fake(measured: string[]): Comparison {
  const note = async (who: string, outcome: () => Promise<Timing>) => {
    measured.push(who);
    return outcome();
  };
  const missing = async (): Promise<Timing> => {
    throw new PeerMissing('there is no .venv');
  };
  const broken = async (): Promise<Timing> => {
    throw new Error('out of memory');
  };
  return {
    name: 'fake',
    about: 'nothing',
    cases: async (lab) => [
      {
        case: 'small',
        backend: 'wasm',
        ours: () => note('ours', () => lab.node('task', {})),
        peers: [
          { name: 'quick', measure: () => note('quick', () => lab.python('script', {})) },
          { name: 'absent', measure: () => note('absent', missing) },
          { name: 'broken', measure: () => note('broken', broken) },
        ],
      },
    ],
  };
}

describe('runComparison', () => {
  it('measures ours once, then every peer in order, and reports ratio = peer_ms / ours_ms', async () => {
    const measured: string[] = [];
    const outcomes = await runComparison(fake(measured), lab, () => {});
    expect(measured).toEqual(['ours', 'quick', 'absent', 'broken']);
    expect(makeReport('fake', 'a machine', outcomes)).toEqual({
      name: 'fake',
      machine: 'a machine',
      cases: [
        { case: 'small', backend: 'wasm', ours_ms: 3, peer: 'quick', peer_ms: 7.5, ratio: 2.5 },
        { case: 'small', backend: 'wasm', ours_ms: 3, peer: 'absent', skipped: 'there is no .venv' },
        { case: 'small', backend: 'wasm', ours_ms: 3, peer: 'broken', skipped: 'it failed: out of memory' },
      ],
    });
  });

  it('throws what our own measurement throws', async () => {
    const failing: Comparison = {
      ...fake([]),
      cases: async () => [
        { case: 'small', backend: 'wasm', ours: () => Promise.reject(new Error('no kernels')), peers: [] },
      ],
    };
    await expect(runComparison(failing, lab, () => {})).rejects.toThrow('no kernels');
  });
});

describe('renderTable', () => {
  it('shows the range of the repeats, the ratio, and why a peer was skipped', async () => {
    const outcomes = await runComparison(fake([]), lab, () => {});
    const table = renderTable('fake', 'a machine', outcomes);
    expect(table).toContain('fake on a machine');
    expect(table).toMatch(/3\.00 \(2\.00 to 4\.00, 3\).*7\.50 \(6\.00 to 9\.00, 2\).*2\.50/);
    expect(table).toMatch(/absent .*skipped .*there is no \.venv/);
  });
});

describe('timing', () => {
  it('is the middle of an odd number of times, and the mean of the middle two of an even number', () => {
    expect(timing([5, 1, 2])).toEqual({ medianMs: 2, minMs: 1, maxMs: 5, repeats: 3 });
    expect(timing([8, 1, 2, 4]).medianMs).toBe(3);
    expect(() => timing([])).toThrow('repeat at least once');
  });
});

describe('chooseComparisons', () => {
  it('names the comparisons that exist when asked for another', () => {
    expect(chooseComparisons(comparisons, undefined)).toHaveLength(comparisons.length);
    expect(chooseComparisons(comparisons, 'decode').map(({ name }) => name)).toEqual(['decode']);
    expect(() => chooseComparisons(comparisons, 'speed')).toThrow(
      'bench: --only speed is not a comparison; choose from train-step, moe-block, mat-mul, decode, attention.',
    );
  });
});

describe('the comparisons', () => {
  it('give every case of a backend a name of its own, and hold the wasm training step against naive tfjs and torch', async () => {
    for (const comparison of comparisons) {
      const cases = await comparison.cases(lab);
      expect(new Set(cases.map((one) => one.case)).size).toBe(cases.length);
    }
    const [step] = await comparisons[0].cases(lab);
    expect(step.peers.map(({ name }) => name)).toEqual(['tfjs-wasm-naive', 'torch']);
  });
});
