import { evaluation } from 'therapeutic-moe';

const SEED = 7;

/**
 * Bits per byte over texts with a 95 % interval. Windows of one text overlap, so texts are drawn, not windows.
 *
 * @param {{ nats: number, bytes: number }[]} costs of each text.
 */
export function bitsPerByte(costs) {
  return withInterval(costs.length, (indices) => ratio(costs, indices));
}

/** By how much `costs` are above `others`, of the same texts: the interval is of the difference. */
export function difference(costs, others) {
  return withInterval(costs.length, (indices) => ratio(costs, indices) - ratio(others, indices));
}

function ratio(costs, indices) {
  let [nats, bytes] = [0, 0];
  for (const i of indices) {
    nats += costs[i].nats;
    bytes += costs[i].bytes;
  }
  return nats / Math.LN2 / bytes;
}

function withInterval(texts, statistic) {
  const value = statistic(Array.from({ length: texts }, (_, i) => i));
  const { low, high } = evaluation.bootstrapInterval(texts, statistic, SEED);
  return { value, low, high };
}
