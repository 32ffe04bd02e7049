import { createRandom, mixSeeds, type Random, restoreRandom, seededOrder } from './random.js';
import { noDomain } from './trainable.js';

/** Where one domain's items stand. */
interface Place {
  epoch: number;
  position: number;
  offset: number;
}

/** Saved form of a `DomainSampler`. */
export interface SamplerState {
  readonly random: number[];
  readonly places: Record<string, Place>;
  readonly drawn: number[];
  readonly items: number;
}

/**
 * Draws a domain by weight and then that domain's next item, each domain in its own seeded order that is shuffled anew
 * when it starts over. `offset` serves readers that use up an item in parts.
 */
export class DomainSampler {
  readonly domains: readonly number[];
  private readonly members = new Map<number, number[]>();
  private readonly shares: readonly number[];
  private readonly orders = new Map<number, Int32Array>();
  private readonly places = new Map<number, Place>();
  private readonly counts: number[];
  private random: Random;

  /**
   * @param itemDomains the domain of each item; items without one (-1) are a group of their own, which weights cannot name.
   * @param weights share of the draws per domain, need not sum to 1; a domain with items and no weight is refused. Absent:
   *   in proportion to `sizes`.
   * @param sizes how much each item holds, for the default weights.
   */
  constructor(
    private readonly itemDomains: readonly number[],
    private readonly seed: number,
    sizes: readonly number[],
    weights?: Readonly<Record<number, number>>,
  ) {
    const totals = new Map<number, number>();
    itemDomains.forEach((domain, item) => {
      const members = this.members.get(domain) ?? [];
      members.push(item);
      this.members.set(domain, members);
      totals.set(domain, (totals.get(domain) ?? 0) + sizes[item]);
    });
    const present = [...this.members.keys()].sort((a, b) => a - b);
    const unlabelled = this.members.get(noDomain);
    if (weights && unlabelled) {
      throw new Error(
        `DomainSampler: ${unlabelled.length} items have no domain but weights per domain are given. Label them, leave them out, or give no weights.`,
      );
    }
    for (const domain of present) {
      const weight = weights?.[domain];
      if (weights && !(weight !== undefined && weight >= 0 && Number.isFinite(weight))) {
        throw new Error(
          `DomainSampler: domain ${domain} has ${this.members.get(domain)?.length} items but its weight is ${weight}. Give it a weight of 0 or more.`,
        );
      }
    }
    for (const [domain, weight] of Object.entries(weights ?? {})) {
      if (weight > 0 && !this.members.has(Number(domain))) {
        throw new Error(
          `DomainSampler: domain ${domain} has weight ${weight} but no items. Remove the weight or add data.`,
        );
      }
    }
    this.domains = present.filter((domain) => !weights || weights[domain] > 0);
    const raw = this.domains.map((domain) => (weights ? weights[domain] : (totals.get(domain) as number)));
    const sum = raw.reduce((a, b) => a + b, 0);
    if (!(sum > 0))
      throw new Error('DomainSampler: there is nothing to draw; no domain has both items and a positive weight.');
    this.shares = raw.map((share) => share / sum);
    this.counts = Array.from({ length: Math.max(0, ...present) + 1 }, () => 0);
    this.random = createRandom(mixSeeds(seed, 1));
    for (const domain of this.domains) this.places.set(domain, { epoch: 0, position: 0, offset: 0 });
  }

  /** Share of the draws per domain, index is the domain; items without one have no entry. */
  get weights(): readonly number[] {
    return this.counts.map((_, domain) =>
      this.domains.includes(domain) ? this.shares[this.domains.indexOf(domain)] : 0,
    );
  }

  /** A domain by weight; counted in `drawn`. */
  drawDomain(): number {
    let left = this.random.next();
    let chosen = this.domains[this.domains.length - 1];
    for (let i = 0; i < this.domains.length; i += 1) {
      left -= this.shares[i];
      if (left < 0) {
        chosen = this.domains[i];
        break;
      }
    }
    if (chosen >= 0) this.counts[chosen] += 1;
    return chosen;
  }

  /** The item a domain stands at and how much of it is used up. */
  current(domain: number): { item: number; offset: number } {
    const place = this.place(domain);
    const members = this.members.get(domain) as readonly number[];
    let order = this.orders.get(domain);
    if (!order) {
      order = seededOrder(members.length, mixSeeds(this.seed, 2, domain, place.epoch));
      this.orders.set(domain, order);
    }
    return { item: members[order[place.position]], offset: place.offset };
  }

  /** Marks `used` more of the current item, or the whole item when `used` is omitted. */
  advance(domain: number, used?: number): void {
    const place = this.place(domain);
    if (used !== undefined) {
      place.offset += used;
      return;
    }
    place.offset = 0;
    place.position += 1;
    if (place.position === (this.members.get(domain) as readonly number[]).length) {
      place.position = 0;
      place.epoch += 1;
      this.orders.delete(domain);
    }
  }

  /** Rows drawn so far per domain; items without one have no entry. */
  drawn(): readonly number[] {
    return [...this.counts];
  }

  state(): SamplerState {
    return {
      random: this.random.state(),
      places: Object.fromEntries([...this.places].map(([domain, place]) => [domain, { ...place }])),
      drawn: [...this.counts],
      items: this.itemDomains.length,
    };
  }

  restore(state: SamplerState): void {
    const saved = Object.keys(state.places ?? {})
      .map(Number)
      .sort((a, b) => a - b)
      .join(', ');
    if (state.items !== this.itemDomains.length || saved !== this.domains.join(', ')) {
      throw new Error(
        `DomainSampler: the saved state is of ${state.items} items in domains ${saved}, this data has ${this.itemDomains.length} in ${this.domains.join(', ')}. Resume with the data the run was started with.`,
      );
    }
    this.random = restoreRandom(state.random);
    this.orders.clear();
    for (const domain of this.domains) this.places.set(domain, { ...state.places[domain] });
    state.drawn.forEach((count, domain) => {
      this.counts[domain] = count;
    });
  }

  private place(domain: number): Place {
    const place = this.places.get(domain);
    if (!place)
      throw new Error(`DomainSampler: domain ${domain} is not drawn from; it has ${this.domains.join(', ')}.`);
    return place;
  }
}
