import type { DataSource, DataState } from './data-source.js';
import { DomainSampler, type SamplerState } from './domain-sampler.js';
import { ignoredTarget, noDomain, type TrainBatch } from './trainable.js';

/** A tokenised text without special tokens. */
export interface TextDocument {
  readonly ids: Int32Array;
  /** -1 where none is known. */
  readonly domain: number;
  /** UTF-8 bytes of the text, for bits per byte. */
  readonly bytes: number;
}

/** Settings of `packedText`. */
export interface PackedTextOptions {
  /** Rows of a micro-batch. */
  readonly batch: number;
  /** Input tokens of a row. */
  readonly seq: number;
  /** Stands before every document; it is what the first token is predicted from. */
  readonly eosTokenId: number;
  readonly seed: number;
  /** Share of the rows per domain. Default: in proportion to the domains' tokens, documents without one as a group. */
  readonly domainWeights?: Readonly<Record<number, number>>;
}

/**
 * Endless language-model data: each row is a window of `seq + 1` tokens out of one domain's documents, joined with eos.
 * A domain is drawn per row by weight. Nothing is skipped: the next row of a domain starts at the token where its last
 * one ended, and a domain that runs out starts over in a new order.
 *
 * @throws when there are no documents, or a weight and the data disagree.
 */
export function packedText(documents: readonly TextDocument[], options: PackedTextOptions): DataSource {
  const { batch, seq, eosTokenId, seed, domainWeights } = options;
  checkCounts('packedText', { batch, seq });
  if (documents.length === 0) throw new Error('packedText: there are no documents. Name a file that has rows.');
  const sampler = new DomainSampler(
    documents.map((document) => document.domain),
    seed,
    documents.map((document) => document.ids.length + 1),
    domainWeights,
  );

  /** One window; the position moves on by `seq`, so the last token of a window is the first input of the next. */
  const fillRow = (ids: Int32Array, targets: Int32Array, domains: Int32Array, row: number): void => {
    const domain = sampler.drawDomain();
    const window = new Int32Array(seq + 1);
    let filled = 0;
    while (filled <= seq) {
      const { item, offset } = sampler.current(domain);
      const document = documents[item];
      const length = document.ids.length + 1;
      const taken = Math.min(length - offset, seq + 1 - filled);
      if (offset === 0) window[filled] = eosTokenId;
      const from = Math.max(0, offset - 1);
      const shift = offset === 0 ? 1 : 0;
      window.set(document.ids.subarray(from, from + taken - shift), filled + shift);
      domains
        .subarray(row * seq, (row + 1) * seq)
        .fill(document.domain < 0 ? noDomain : document.domain, filled, filled + taken);
      filled += taken;
      const ends = offset + taken === length;
      if (filled > seq) sampler.advance(domain, taken - 1);
      else if (ends) sampler.advance(domain);
    }
    ids.set(window.subarray(0, seq), row * seq);
    targets.set(window.subarray(1), row * seq);
  };

  const nextBatch = (): TrainBatch => {
    const size = batch * seq;
    const made = {
      ids: new Int32Array(size),
      targets: new Int32Array(size),
      domains: new Int32Array(size),
      mask: new Uint8Array(size).fill(1),
    };
    for (let row = 0; row < batch; row += 1) fillRow(made.ids, made.targets, made.domains, row);
    return { batch, seq, ...made };
  };

  return {
    nextStep: (microBatches) => Array.from({ length: microBatches }, nextBatch),
    state: () => ({ kind: 'packed-text', batch, seq, sampler: sampler.state() }),
    restore(state) {
      expectState('packedText', state, { kind: 'packed-text', batch, seq });
      sampler.restore(state.sampler as SamplerState);
    },
    drawn: () => sampler.drawn(),
  };
}

/** Fixed batches for measuring, with the bytes their counted tokens stand for. */
export interface EvaluationSet {
  readonly batches: readonly TrainBatch[];
  /** Counted tokens. */
  readonly tokens: number;
  /** UTF-8 bytes of the text behind them. */
  readonly bytes: number;
}

/**
 * Whole documents as fixed windows: each document starts with eos, every one of its tokens and the eos after it is
 * predicted once, the last window is padded. With `maxTokens` documents are taken evenly over the list until it is reached.
 */
export function packedEvaluation(
  documents: readonly TextDocument[],
  { batch, seq, eosTokenId, maxTokens }: { batch: number; seq: number; eosTokenId: number; maxTokens?: number },
): EvaluationSet {
  checkCounts('packedEvaluation', { batch, seq });
  const chosen = takeEvenly(documents, (document) => document.ids.length + 1, maxTokens);
  const length = chosen.reduce((sum, document) => sum + document.ids.length + 1, 1);
  const stream = new Int32Array(length);
  const labels = new Int32Array(length).fill(noDomain);
  let at = 0;
  for (const document of chosen) {
    stream[at] = eosTokenId;
    stream.set(document.ids, at + 1);
    labels.fill(document.domain < 0 ? noDomain : document.domain, at, at + document.ids.length + 1);
    at += document.ids.length + 1;
  }
  stream[at] = eosTokenId;
  const rows: { start: number; end: number }[] = [];
  for (let start = 0; start < length - 1; start += seq) rows.push({ start, end: Math.min(start + seq, length - 1) });
  const batches: TrainBatch[] = [];
  for (let first = 0; first < rows.length; first += batch) {
    const own = rows.slice(first, first + batch);
    const size = own.length * seq;
    const made = {
      ids: new Int32Array(size),
      targets: new Int32Array(size).fill(ignoredTarget),
      domains: new Int32Array(size).fill(noDomain),
      mask: new Uint8Array(size),
    };
    own.forEach(({ start, end }, row) => {
      made.ids.set(stream.subarray(start, end), row * seq);
      made.targets.set(stream.subarray(start + 1, end + 1), row * seq);
      made.domains.set(labels.subarray(start, end), row * seq);
      made.mask.fill(1, row * seq, row * seq + end - start);
    });
    batches.push({ batch: own.length, seq, ...made });
  }
  return { batches, tokens: length - 1, bytes: chosen.reduce((sum, document) => sum + document.bytes, 0) };
}

/** Items spread evenly over the list whose sizes together stay within `limit`; all when there is no limit. */
export function takeEvenly<T>(items: readonly T[], size: (item: T) => number, limit = Number.POSITIVE_INFINITY): T[] {
  const total = items.reduce((sum, item) => sum + size(item), 0);
  if (total <= limit) return [...items];
  const taken: T[] = [];
  let passed = 0;
  let used = 0;
  for (const item of items) {
    passed += size(item);
    if (used + size(item) <= (passed * limit) / total + size(item) / 2 && used + size(item) <= limit) {
      taken.push(item);
      used += size(item);
    }
  }
  return taken;
}

export function checkCounts(where: string, counts: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(counts)) {
    if (!Number.isInteger(value) || value < 1)
      throw new Error(`${where}: ${name} must be a whole number of at least 1, got ${value}.`);
  }
}

export function expectState(where: string, state: DataState, expected: Readonly<Record<string, unknown>>): void {
  for (const [name, value] of Object.entries(expected)) {
    if (state[name] !== value) {
      throw new Error(
        `${where}: the saved data state has ${name} ${JSON.stringify(state[name])}, this run ${JSON.stringify(value)}. Resume with the settings the run was started with.`,
      );
    }
  }
}
