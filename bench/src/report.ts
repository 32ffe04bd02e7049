import type { Timing } from './comparison.js';
import type { Outcome } from './run-comparison.js';

/** What `--json` prints for one comparison. */
export interface Report {
  readonly name: string;
  readonly machine: string;
  readonly cases: readonly ReportedCase[];
}

/** One case against one peer. `ratio` is `peer_ms / ours_ms`: above 1 ours is faster. Peaks are in MiB and rates in GB/s, where they are measured. */
export type ReportedCase = {
  readonly case: string;
  readonly backend: string;
  readonly ours_ms: number;
  readonly ours_peak_mib?: number;
  readonly ours_gb_per_s?: number;
  readonly peer: string;
} & (
  | {
      readonly peer_ms: number;
      readonly ratio: number;
      readonly peer_peak_mib?: number;
      readonly peer_gb_per_s?: number;
    }
  | { readonly skipped: string }
);

export function makeReport(name: string, machine: string, outcomes: readonly Outcome[]): Report {
  return { name, machine, cases: outcomes.map(reportCase) };
}

function reportCase(outcome: Outcome): ReportedCase {
  const { case: name, backend, peer, ours } = outcome;
  const common = { case: name, backend, ours_ms: digits(ours.medianMs), ...besides('ours', ours), peer };
  if ('skipped' in outcome) return { ...common, skipped: outcome.skipped };
  const { theirs } = outcome;
  const ratio = digits(theirs.medianMs / ours.medianMs);
  return { ...common, peer_ms: digits(theirs.medianMs), ratio, ...besides('peer', theirs) };
}

/** What is measured besides the time, by whom. */
function besides(who: 'ours' | 'peer', { peakMiB, gigabytesPerSecond }: Timing): Record<string, number> {
  return {
    ...(typeof peakMiB === 'number' && { [`${who}_peak_mib`]: digits(peakMiB) }),
    ...(gigabytesPerSecond !== undefined && { [`${who}_gb_per_s`]: digits(gigabytesPerSecond) }),
  };
}

/** Five digits: more than any timing means, few enough to read. */
function digits(x: number): number {
  return Number(x.toPrecision(5));
}

/** The same for a reader, with the range of the repeats, and the peak memory behind it where it was measured. */
export function renderTable(name: string, machine: string, outcomes: readonly Outcome[]): string {
  const header = ['case', 'backend', 'ours', 'peer', 'peer takes', 'ratio', 'notes'];
  const rows = outcomes.map((outcome) => {
    const { case: title, backend, peer, ours } = outcome;
    const left = [title, backend, describe(ours), peer];
    if ('skipped' in outcome) return [...left, 'skipped', '', outcome.skipped];
    const { theirs } = outcome;
    const notes = [ours.detail && `ours: ${ours.detail}`, theirs.detail && `${peer}: ${theirs.detail}`];
    return [...left, describe(theirs), (theirs.medianMs / ours.medianMs).toFixed(2), notes.filter(Boolean).join('; ')];
  });
  const widths = header.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i].length)));
  const line = (cells: readonly string[]) => `| ${cells.map((cell, i) => cell.padEnd(widths[i])).join(' | ')} |`;
  const rule = `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`;
  const note =
    'Median ms (least to greatest, repeats). ratio = peer / ours: above 1 ours is faster. MiB: the most memory that a run takes.';
  return [`${name} on ${machine}`, note, '', line(header), rule, ...rows.map(line)].join('\n');
}

function describe({ medianMs, minMs, maxMs, repeats, peakMiB, gigabytesPerSecond }: Timing): string {
  const range = repeats === 1 ? '1' : `${short(minMs)} to ${short(maxMs)}, ${repeats}`;
  const memory = peakMiB === undefined ? '' : `, ${peakMiB.toFixed(1)} MiB`;
  const rate = gigabytesPerSecond === undefined ? '' : `, ${gigabytesPerSecond.toFixed(2)} GB/s`;
  return `${short(medianMs)} (${range})${rate}${memory}`;
}

function short(ms: number): string {
  return ms >= 100 ? ms.toFixed(0) : ms.toPrecision(3);
}
