import { type Comparison, type Lab, type Peer, PeerMissing, type Timing } from './comparison.js';

/** One case against one peer: both times, or why the peer has none. */
export type Outcome = Compared | Skipped;

interface Common {
  readonly case: string;
  readonly backend: string;
  readonly peer: string;
  readonly ours: Timing;
}

export interface Compared extends Common {
  readonly theirs: Timing;
}

export interface Skipped extends Common {
  readonly skipped: string;
}

/**
 * Measures every case of a comparison: ours once, then each peer, one process after the other so that nothing contends.
 *
 * @param log receives a line before each measurement.
 * @throws what our own measurement throws; a peer that fails is reported as skipped with its reason.
 */
export async function runComparison(
  comparison: Comparison,
  lab: Lab,
  log: (line: string) => void,
): Promise<readonly Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const { case: name, backend, ours: measureOurs, peers } of await comparison.cases(lab)) {
    log(`${comparison.name}: ${name}: ours on ${backend}`);
    const ours = await measureOurs();
    for (const peer of peers) {
      log(`${comparison.name}: ${name}: ${peer.name}`);
      outcomes.push({ case: name, backend, peer: peer.name, ours, ...(await measurePeer(peer)) });
    }
  }
  return outcomes;
}

async function measurePeer(peer: Peer): Promise<{ theirs: Timing } | { skipped: string }> {
  try {
    return { theirs: await peer.measure() };
  } catch (thrown) {
    const reason = thrown instanceof Error ? thrown.message : String(thrown);
    return { skipped: thrown instanceof PeerMissing ? reason : `it failed: ${reason}` };
  }
}
