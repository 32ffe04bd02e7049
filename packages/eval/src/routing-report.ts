/** How one layer routed the tokens that were looked at. Entropies in nats; the three are three things. */
export interface LayerRouting {
  /** Share of choices per expert, sums to 1. */
  readonly load: readonly number[];
  /** Experts that no token chose. */
  readonly deadExperts: readonly number[];
  /** Mean over tokens of the entropy of that token's probabilities. */
  readonly meanTokenEntropy: number;
  /** Entropy of the mean probabilities. */
  readonly entropyOfMean: number;
  /** Mean over tokens of the entropy of the k renormalised weights. */
  readonly meanTopKEntropy: number;
  /** Share of choices per expert for each of the report's domains, in their order. */
  readonly loadByDomain: readonly (readonly number[])[];
}

/** An expert that a token visited, and how much it counted. */
export interface Visit {
  readonly expert: number;
  readonly weight: number;
}

/** A text, token by token. */
export interface RoutedPassage {
  readonly title: string;
  /** `visits[layer]` are best first. */
  readonly tokens: readonly { readonly text: string; readonly visits: readonly (readonly Visit[])[] }[];
}

/** What the routing report shows. */
export interface RoutingReport {
  readonly title: string;
  /** What was routed by what, for the head of the page. */
  readonly facts: Readonly<Record<string, string | number>>;
  /** Name of each expert. */
  readonly experts: readonly string[];
  readonly numExpertsPerTok: number;
  /** Labels of the input rows with the tokens behind them; one for all where no row has a label. */
  readonly domains: readonly { readonly name: string; readonly tokens: number }[];
  readonly layers: readonly LayerRouting[];
  /** Their numbers in the model, where some of its layers have no experts. Absent: 0, 1, 2 and so on. */
  readonly layerNumbers?: readonly number[];
  /** Share of choices per expert of each input row in order, over all layers. */
  readonly overTime: readonly { readonly tokens: number; readonly shares: readonly number[] }[];
  readonly passages: readonly RoutedPassage[];
}

/** What the model calls one of the report's layers. */
export function layerNumber({ layerNumbers }: Pick<RoutingReport, 'layerNumbers'>, at: number): number {
  return layerNumbers?.[at] ?? at;
}
