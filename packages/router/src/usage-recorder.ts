import { type LoadPoint, LoadSeries } from './load-series.js';
import { statisticsOf, type UsageStatistics } from './usage-statistics.js';
import { addTokens, emptySums, type RoutedTokens, type UsageSums } from './usage-sums.js';

/** What a recorder knows of one layer. */
export interface LayerUsage {
  readonly layer: number;
  /** Real tokens counted. */
  readonly tokens: number;
  readonly usage: UsageStatistics;
  /** Load over time, from the first batch to the last. */
  readonly loadOverTime: readonly LoadPoint[];
}

/** The sizes of the routers that are recorded, and how long a series may get. */
export interface UsageRecorderConfig {
  readonly numExperts: number;
  readonly numExpertsPerTok: number;
  /** Most points of a layer's load over time, an even number; older points are merged. */
  readonly seriesLength: number;
}

/**
 * Usage of every layer over many batches, for a training run or a server. It owns plain sums: memory grows with layers
 * and experts, never with batches.
 */
export class UsageRecorder {
  readonly #layers = new Map<number, { sums: UsageSums; series: LoadSeries }>();

  constructor(readonly config: UsageRecorderConfig) {
    this.#empty(); // refuses a wrong length now
  }

  /**
   * Counts one batch of one layer.
   *
   * @throws when the arrays do not describe the same tokens, or an index names no expert; nothing is counted then.
   */
  add(layer: number, routed: RoutedTokens): void {
    const batch = emptySums(this.config.numExperts);
    addTokens(batch, routed, this.config.numExpertsPerTok, `UsageRecorder.add: layer ${layer}`);
    if (batch.tokens === 0) return;
    const held = this.#layers.get(layer) ?? this.#empty();
    addSums(held.sums, batch);
    held.series.add(batch.tokens, batch.choices);
    this.#layers.set(layer, held);
  }

  /** What was counted so far, a value of its own; layers that saw no real token are absent. */
  snapshot(): LayerUsage[] {
    return [...this.#layers]
      .sort(([a], [b]) => a - b)
      .map(([layer, { sums, series }]) => ({
        layer,
        tokens: sums.tokens,
        usage: statisticsOf(sums),
        loadOverTime: series.points(),
      }));
  }

  /** Forgets everything. */
  reset(): void {
    this.#layers.clear();
  }

  #empty(): { sums: UsageSums; series: LoadSeries } {
    return { sums: emptySums(this.config.numExperts), series: new LoadSeries(this.config.seriesLength) };
  }
}

function addSums(into: UsageSums, more: UsageSums): void {
  into.tokens += more.tokens;
  into.dropped += more.dropped;
  into.tokenEntropy += more.tokenEntropy;
  into.topKEntropy += more.topKEntropy;
  for (const [e, count] of more.choices.entries()) into.choices[e]! += count;
  for (const [e, sum] of more.probability.entries()) into.probability[e]! += sum;
}
