import type { ModelConfig } from '../model-config.js';
import { maxPositions } from '../rotary-positions.js';

/** A text of one of the domains that experts are to stand for. */
export interface DomainPrompt {
  /** Number of the domain, which is that of its expert. */
  readonly domain: number;
  /** Its tokens; the first one starts the text, knows nothing of it and is not counted. */
  readonly ids: readonly number[];
}

/** The tokens of prompts one after the other, and whose they are. */
export interface PromptTokens {
  /** For each prompt its ids, cut to what the model serves. */
  readonly ids: readonly (readonly number[])[];
  /** `[tokens]`, the domain of each, or -1 where it starts a text. */
  readonly domains: Int32Array;
  /** `[domains, tokens]` row by row: a counted token's share of its domain, so that a product with it is a mean. */
  readonly shares: Float32Array;
}

/**
 * @param names of the domains, one for each expert.
 * @throws when a domain has no token or those of another one, an id is outside of the vocabulary, or the model is one that
 *   prompts cannot pass.
 */
export function readPrompts(
  config: ModelConfig,
  prompts: readonly DomainPrompt[],
  names: readonly string[],
): PromptTokens {
  const domains = names.length;
  if (config.attention || config.positions) {
    throw new Error(
      `upcycle: prompts pass through plain attention with rotary positions, the base has ${config.attention?.kind ?? config.positions!.kind}; leave them out for a router at random.`,
    );
  }
  const stray = prompts.find(({ domain }) => !(Number.isInteger(domain) && domain >= 0 && domain < domains));
  if (stray)
    throw new Error(`upcycle: a prompt is of domain ${stray.domain}, but there are ${domains} experts, from 0.`);
  const ids = prompts.map((prompt) => prompt.ids.slice(0, maxPositions(config)));
  const bad = ids.flat().find((id) => !(Number.isInteger(id) && id >= 0 && id < config.vocabSize));
  if (bad !== undefined)
    throw new Error(`upcycle: a prompt has the token ${bad}, outside of the base's vocabulary of ${config.vocabSize}.`);
  refuseEqualDomains(prompts, ids, names);
  const owners = Int32Array.from(
    prompts.flatMap(({ domain }, i) => ids[i]!.map((_, position) => (position === 0 ? -1 : domain))),
  );
  return { ids, domains: owners, shares: sharesOf(owners, names) };
}

/** A router of two domains with the same texts would be scaled from what rounding leaves of their difference. */
function refuseEqualDomains(
  prompts: readonly DomainPrompt[],
  ids: readonly (readonly number[])[],
  names: readonly string[],
): void {
  const texts = names.map((_, domain) =>
    ids
      .filter((_, i) => prompts[i]!.domain === domain)
      .map(String)
      .sort()
      .join(';'),
  );
  const second = texts.findIndex((text, domain) => text !== '' && texts.indexOf(text) < domain);
  if (second < 0) return;
  throw new Error(
    `upcycle: the domains ${names[texts.indexOf(texts[second]!)]} and ${names[second]} have the same prompts, so that no router can tell them apart; give each its own.`,
  );
}

function sharesOf(owners: Int32Array, names: readonly string[]): Float32Array {
  const shares = new Float32Array(names.length * owners.length);
  for (const [domain, name] of names.entries()) {
    const count = owners.reduce((sum, owner) => sum + (owner === domain ? 1 : 0), 0);
    if (count === 0)
      throw new Error(`upcycle: domain ${name} has no token to learn from; give each expert a prompt of its domain.`);
    for (const [token, owner] of owners.entries())
      if (owner === domain) shares[domain * owners.length + token] = 1 / count;
  }
  return shares;
}
