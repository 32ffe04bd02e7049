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
      'bench: --only speed is not a comparison; choose from train-step, lora-step, moe-block, mat-mul, decode, attention, load.',
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

describe('attention', () => {
  const attention = chooseComparisons(comparisons, 'attention')[0];

  it('holds whole attention against the score matrix and torch, and says why the matrix has no place', async () => {
    const cases = await attention.cases(lab);
    const [long] = cases.filter((one) => one.case.startsWith('causal attention T8192 '));
    expect(long.peers.map(({ name }) => name)).toEqual(['naive', 'torch']);
    await expect(long.peers[0].measure()).rejects.toThrow('6 score matrices of 2.0 GiB at once, and there are 4.0 GiB');
    await expect(cases[0].peers[0].measure()).resolves.toEqual(timing([2, 4, 3]));
  });

  it('says how memory grows with four times the tokens, and what a window spares', () => {
    const measured = (name: string, ms: number, ours: number, theirs?: number) => ({
      case: `${name} B1 H8 D64, forward on wasm`,
      backend: 'wasm',
      peer: 'naive',
      ours: { ...timing([ms]), peakMiB: ours },
      ...(theirs !== undefined && { theirs: { ...timing([1]), peakMiB: theirs } }),
    });
    const lines = attention.conclude?.([
      measured('causal attention T512', 2, 1, 30),
      measured('causal attention T2048', 16, 4, 480),
      measured('causal attention T8192', 200, 16),
      measured('window 512 attention T8192', 50, 16),
    ]);
    expect(lines).toEqual([
      'wasm: forward: memory from 512 to 2048 tokens: ours 4.0, naive 16.0 times',
      'wasm: forward: memory from 2048 to 8192 tokens: ours 4.0 times',
      'wasm: a window of 512 takes 0.25 times as long as none (T8192 B1 H8 D64, forward on wasm)',
    ]);
  });
});

describe('a report', () => {
  it('has the peak memory of both where it was measured', () => {
    const peak = (peakMiB: number) => ({ ...timing([2]), peakMiB });
    const outcomes = [{ case: 'long', backend: 'wasm', peer: 'naive', ours: peak(4), theirs: peak(64) }];
    expect(makeReport('fake', 'a machine', outcomes).cases[0]).toMatchObject({ ours_peak_mib: 4, peer_peak_mib: 64 });
    expect(renderTable('fake', 'a machine', outcomes)).toMatch(/2\.00 \(1\), 4\.0 MiB.*2\.00 \(1\), 64\.0 MiB/);
  });
});
