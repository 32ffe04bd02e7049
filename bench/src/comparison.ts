/** How long one piece of work took. */
export interface Timing {
  readonly medianMs: number;
  readonly minMs: number;
  readonly maxMs: number;
  /** Timed repeats, after a warm-up. */
  readonly repeats: number;
  /** The most memory that one run takes beyond what is held before it, in MiB, where it is measured. */
  readonly peakMiB?: number;
  /** Of what was read, where that is a rate. */
  readonly gigabytesPerSecond?: number;
  /** What else a reader should know, such as the variant that was fastest. */
  readonly detail?: string;
}

/** Measures one contender, in a process of its own. */
export type Measure = () => Promise<Timing>;

/** What ours is held against. */
export interface Peer {
  readonly name: string;
  /** @throws PeerMissing when it is not installed. */
  readonly measure: Measure;
}

/** One piece of work on one of our backends, and the peers that do the same work. */
export interface Case {
  readonly case: string;
  readonly backend: string;
  readonly ours: Measure;
  readonly peers: readonly Peer[];
}

/** A named group of cases. */
export interface Comparison {
  readonly name: string;
  /** One line for `--list`. */
  readonly about: string;
  cases(lab: Lab): Promise<readonly Case[]>;
  /** What the cases say together, a line each. */
  conclude?(measured: readonly Measured[]): readonly string[];
}

/** One case against one peer, whose timing is absent where it could not be measured. */
export interface Measured {
  readonly case: string;
  readonly backend: string;
  readonly peer: string;
  readonly ours: Timing;
  readonly theirs?: Timing;
}

/** What comparisons measure with. */
export interface Lab {
  /** Timed repeats of ours and of quick peers. */
  readonly repeats: number;
  /** Timed repeats of naive formulations that take up to a minute each. */
  readonly naiveRepeats: number;
  /** The backends that ours can run on here. */
  backends(): Promise<readonly string[]>;
  /** Runs a task of `tasks.ts` in a fresh Node process. */
  node(task: string, input: object): Promise<Timing>;
  /** Runs a script of `bench/peers` in a fresh Python process. @throws PeerMissing when there is no Python with the packages it needs. */
  python(script: string, input: object): Promise<Timing>;
}

/** A peer is not installed; the message says what is missing and how to get it. */
export class PeerMissing extends Error {
  override readonly name = 'PeerMissing';
}
