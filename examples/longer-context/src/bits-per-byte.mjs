import { evaluation } from 'therapeutic-moe';

const SEED = 7;

/** What windows cost in some of their positions, gathered by text: `[texts]` of nats and bytes. */
export function costsByText(windows, nats, bytes, [from, to]) {
  const costs = new Map();
  for (const [i, { text }] of windows.entries()) {
    const cost = costs.get(text) ?? { nats: 0, bytes: 0 };
    for (let at = from; at < to; at++) {
      cost.nats += nats[i][at];
      cost.bytes += bytes[i][at];
    }
    costs.set(text, cost);
  }
  return [...costs.values()];
}

const ratio = (costs, indices) => {
  let [nats, bytes] = [0, 0];
  for (const i of indices) {
    nats += costs[i].nats;
    bytes += costs[i].bytes;
  }
  return nats / Math.LN2 / bytes;
};

const all = (costs) => costs.map((_, i) => i);

/** Bits per byte with a 95 % interval. Windows of one text overlap and resemble each other, so texts are drawn, not windows. */
export function bitsPerByte(costs) {
  return withInterval(ratio(costs, all(costs)), costs.length, (indices) => ratio(costs, indices));
}

/** By how much `costs` are above `others`, of the same texts: the interval is of the difference. */
export function difference(costs, others) {
  const of = (indices) => ratio(costs, indices) - ratio(others, indices);
  return withInterval(of(all(costs)), costs.length, of);
}

function withInterval(value, texts, statistic) {
  const { low, high } = evaluation.bootstrapInterval(texts, statistic, SEED) ?? { low: Number.NaN, high: Number.NaN };
  return { value, low, high };
}
