import type { RoutedPassage, RoutingReport } from '@therapeutic-moe/eval';
import { type LayerUsage, UsageRecorder } from '@therapeutic-moe/router';
import type { RoutedText } from './routed-text.js';

/** Where texts went: usage by layer, of all of them and by domain, and the shares of each. It holds no text. */
export interface RoutedTexts {
  readonly layers: readonly LayerUsage[];
  readonly domains: readonly {
    readonly name: string;
    readonly rows: number;
    readonly layers: readonly LayerUsage[];
  }[];
  /** Tokens and shares by expert of each text in order, over all layers. */
  readonly rows: readonly { readonly tokens: number; readonly shares: readonly number[] }[];
}

/** Name of the one domain where no text names one, and of texts without one where others do. */
const noDomain = { all: 'all rows', some: 'no domain' } as const;

/** Most points of a load series, which the report does not use: it has the rows. */
const SERIES = 2;

/** Adds up where texts go, one after the other. It keeps sums, so that many texts take no more memory than few. */
export class RoutedTextsRecorder {
  readonly #all: UsageRecorder;
  readonly #domains = new Map<string, { rows: number; recorder: UsageRecorder }>();
  readonly #rows: { tokens: number; shares: number[] }[] = [];

  constructor(
    readonly numExperts: number,
    readonly numExpertsPerTok: number,
  ) {
    this.#all = this.#recorder();
  }

  /** @returns the text's share of each expert over all layers; they sum to 1. */
  add({ ids, layers }: RoutedText, domain: string = noDomain.some): readonly number[] {
    const held = this.#domains.get(domain) ?? { rows: 0, recorder: this.#recorder() };
    this.#domains.set(domain, held);
    held.rows++;
    const counts = new Array<number>(this.numExperts).fill(0);
    for (const [layer, routed] of layers.entries()) {
      this.#all.add(layer, routed);
      held.recorder.add(layer, routed);
      for (const expert of routed.indices) counts[expert]! += 1;
    }
    const total = counts.reduce((sum, count) => sum + count, 0);
    const shares = counts.map((count) => count / total);
    this.#rows.push({ tokens: ids.length, shares });
    return shares;
  }

  /** What was added so far. @throws when nothing was. */
  result(): RoutedTexts {
    if (this.#rows.length === 0) throw new Error('routeTexts: there are no texts; statistics of nothing say nothing.');
    const domains = [...this.#domains].map(([name, { rows, recorder }]) => ({
      name: name === noDomain.some && this.#domains.size === 1 ? noDomain.all : name,
      rows,
      layers: recorder.snapshot(),
    }));
    return { layers: this.#all.snapshot(), domains, rows: this.#rows };
  }

  #recorder(): UsageRecorder {
    const { numExperts, numExpertsPerTok } = this;
    return new UsageRecorder({ numExperts, numExpertsPerTok, seriesLength: SERIES });
  }
}

/** Mean over layers of the shares of the experts. */
export function meanLoad(layers: readonly LayerUsage[]): number[] {
  return layers[0]!.usage.load.map(
    (_, e) => layers.reduce((sum, { usage }) => sum + usage.load[e]!, 0) / layers.length,
  );
}

/** The parts of a report that follow from the texts. */
export function describeTexts({
  layers,
  domains,
  rows,
}: RoutedTexts): Pick<RoutingReport, 'domains' | 'layers' | 'overTime'> {
  return {
    domains: domains.map(({ name, layers: own }) => ({ name, tokens: own[0]!.tokens })),
    layers: layers.map(({ usage }, layer) => ({
      load: usage.load,
      deadExperts: usage.deadExperts,
      meanTokenEntropy: usage.meanTokenEntropy,
      entropyOfMean: usage.entropyOfMean,
      meanTopKEntropy: usage.meanTopKEntropy,
      loadByDomain: domains.map(({ layers: own }) => own[layer]!.usage.load),
    })),
    overTime: rows,
  };
}

/** A text for the report, token by token; the token that starts it is left out. */
export function toPassage(title: string, texts: readonly string[], { layers }: RoutedText, k: number): RoutedPassage {
  const tokens = texts.map((text, i) => ({
    text,
    visits: layers.map(({ indices, weights }) =>
      Array.from({ length: k }, (_, j) => ({ expert: indices[(i + 1) * k + j]!, weight: weights[(i + 1) * k + j]! })),
    ),
  }));
  return { title, tokens };
}
