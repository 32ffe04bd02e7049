import type { LayerRouting, RoutedPassage, RoutingReport } from '@therapeutic-moe/eval';
import { usageStatistics } from '@therapeutic-moe/router';
import type { RoutedLayer, RoutedText } from './routed-text.js';

/** What the report keeps of one routed row: sums per layer, nothing of its text. */
export interface RoutedRow {
  readonly domain: string;
  readonly tokens: number;
  readonly layers: readonly LayerSums[];
}

interface LayerSums {
  /** Choices per expert. */
  readonly counts: readonly number[];
  /** Routing probability per expert, summed over the tokens. */
  readonly probabilities: readonly number[];
  /** Entropy of each token's probabilities, summed over the tokens. */
  readonly tokenEntropy: number;
  /** Entropy of each token's renormalised weights, summed over the tokens. */
  readonly topKEntropy: number;
}

/** Name of the one row of the heat maps where no input row names a domain, and of rows without one where others do. */
const noDomain = { all: 'all rows', some: 'no domain' } as const;

/** Sums up where a text's tokens went. */
export function sumRow({ ids, layers }: RoutedText, domain: string | undefined, experts: number, k: number): RoutedRow {
  return {
    domain: domain ?? noDomain.some,
    tokens: ids.length,
    layers: layers.map((layer) => sumLayer(layer, ids.length, experts, k)),
  };
}

function sumLayer({ probabilities, indices }: RoutedLayer, tokens: number, experts: number, k: number): LayerSums {
  const { load, meanTokenEntropy, meanTopKEntropy } = usageStatistics(probabilities, indices, experts, k);
  const sums = new Array<number>(experts).fill(0);
  for (const [i, p] of probabilities.entries()) sums[i % experts]! += p;
  return {
    counts: load.map((share) => Math.round(share * tokens * k)),
    probabilities: sums,
    tokenEntropy: meanTokenEntropy * tokens,
    topKEntropy: meanTopKEntropy * tokens,
  };
}

/** Share of choices per expert over all layers of some rows; sums to 1. */
export function sharesOf(rows: readonly RoutedRow[]): number[] {
  return toShares(add(rows.flatMap(({ layers }) => layers.map(({ counts }) => counts))));
}

/** The parts of the report that follow from the rows. */
export function summariseRows(rows: readonly RoutedRow[]): Pick<RoutingReport, 'domains' | 'layers' | 'overTime'> {
  const byDomain = Map.groupBy(rows, ({ domain }) => domain);
  const groups = [...byDomain].map(([name, members]) => ({ name, members }));
  const onlyOne = groups.length === 1 && groups[0]!.name === noDomain.some;
  return {
    domains: groups.map(({ name, members }) => ({ name: onlyOne ? noDomain.all : name, tokens: tokensOf(members) })),
    layers: rows[0]!.layers.map((_, layer) =>
      summariseLayer(
        rows,
        groups.map(({ members }) => members),
        layer,
      ),
    ),
    overTime: rows.map((row) => ({ tokens: row.tokens, shares: sharesOf([row]) })),
  };
}

function summariseLayer(rows: readonly RoutedRow[], groups: readonly RoutedRow[][], layer: number): LayerRouting {
  const sums = rows.map(({ layers }) => layers[layer]!);
  const tokens = tokensOf(rows);
  const load = toShares(add(sums.map(({ counts }) => counts)));
  const mean = add(sums.map(({ probabilities }) => probabilities)).map((sum) => sum / tokens);
  const meanOf = (of: (one: LayerSums) => number) => sums.reduce((total, one) => total + of(one), 0) / tokens;
  return {
    load,
    deadExperts: load.flatMap((share, e) => (share === 0 ? [e] : [])),
    meanTokenEntropy: meanOf(({ tokenEntropy }) => tokenEntropy),
    entropyOfMean: -mean.reduce((sum, p) => sum + (p > 0 ? p * Math.log(p) : 0), 0),
    meanTopKEntropy: meanOf(({ topKEntropy }) => topKEntropy),
    loadByDomain: groups.map((members) => toShares(add(members.map(({ layers }) => layers[layer]!.counts)))),
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

const tokensOf = (rows: readonly RoutedRow[]): number => rows.reduce((sum, { tokens }) => sum + tokens, 0);

function add(vectors: readonly (readonly number[])[]): number[] {
  return vectors[0]!.map((_, i) => vectors.reduce((sum, vector) => sum + vector[i]!, 0));
}

function toShares(counts: readonly number[]): number[] {
  const total = counts.reduce((sum, count) => sum + count, 0);
  return counts.map((count) => count / total);
}
