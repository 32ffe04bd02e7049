/** The load of a stretch of time. */
export interface LoadPoint {
  /** Real tokens in this stretch. */
  readonly tokens: number;
  /** Share of choices per expert, sums to 1. */
  readonly load: readonly number[];
}

/** A stretch that is still counted. */
interface Counts {
  adds: number;
  tokens: number;
  choices: Float64Array;
}

/**
 * Load over time in bounded memory: when its points are used up, neighbours are merged two by two, so the series always
 * covers everything since the start, ever more coarsely.
 */
export class LoadSeries {
  #points: Counts[] = [];
  /** How many adds one point covers. */
  #stride = 1;

  /** @param capacity most points it holds, an even number. */
  constructor(readonly capacity: number) {
    if (!Number.isInteger(capacity) || capacity < 2 || capacity % 2 !== 0) {
      throw new Error(`LoadSeries: capacity must be an even number of 2 or more points, got ${capacity}.`);
    }
  }

  /** @param choices `[experts]`, how many choices went to each; not kept. */
  add(tokens: number, choices: Float64Array): void {
    const last = this.#points.at(-1);
    if (last && last.adds < this.#stride) {
      this.#points[this.#points.length - 1] = merged(last, { adds: 1, tokens, choices });
      return;
    }
    if (this.#points.length === this.capacity) {
      this.#points = pairs(this.#points);
      this.#stride *= 2;
    }
    this.#points.push({ adds: 1, tokens, choices: choices.slice() });
  }

  /** The points in order of time. */
  points(): LoadPoint[] {
    return this.#points.map(({ tokens, choices }) => {
      const total = choices.reduce((sum, count) => sum + count, 0);
      return { tokens, load: Array.from(choices, (count) => count / total) };
    });
  }
}

function merged(a: Counts, b: Counts): Counts {
  return { adds: a.adds + b.adds, tokens: a.tokens + b.tokens, choices: a.choices.map((n, e) => n + b.choices[e]!) };
}

function pairs(points: readonly Counts[]): Counts[] {
  return Array.from({ length: points.length / 2 }, (_, i) => merged(points[2 * i]!, points[2 * i + 1]!));
}
