import { bitsPerByte, difference } from './bits-per-byte.mjs';
import { natsByPosition } from './windows.mjs';

/**
 * The curves of one set of texts: bits per byte at each position of a window, of the same tokens at each.
 *
 * `within` is the last position that the model was trained on, `beyond` all later ones. `gain` is beyond less within: negative
 * where a longer context helps. `againstReference`, at each position, is the difference to the first run's `within`: the model as
 * anyone has it. `beyondAgainstNone` is the difference to the run without scaling in the same state, tuned or not.
 *
 * @param {{ name: string, stretches: import('./windows.mjs').Stretch[] }} set
 * @param {{ variant: string, state: string, seconds: number, nats: number[][][] }[]} runs nats as `[texts][windows][positions]`.
 * @param {number} trainedPositions how many blocks the model was trained on.
 */
export function summarise({ name, stretches }, runs, trainedPositions) {
  const last = trainedPositions - 1;
  const bytes = stretches.map(({ counted }) => counted.bytes);
  const costsOf = ({ nats }) => nats.map((own, text) => natsByPosition(own, stretches[text].counted));
  const at = (costs, position) => costs.map((nats, text) => ({ nats: nats[position], bytes: bytes[text] }));
  const reference = at(costsOf(runs[0]), last);

  const beyondOf = (costs) =>
    costs.map((nats, text) => {
      const later = nats.slice(trainedPositions);
      return { nats: later.reduce((sum, one) => sum + one, 0), bytes: bytes[text] * later.length };
    });
  const curves = runs.map((run) => {
    const costs = costsOf(run);
    const beyond = beyondOf(costs);
    const none = runs.find(({ variant, state }) => variant === runs[0].variant && state === run.state);
    return {
      variant: run.variant,
      state: run.state,
      seconds: run.seconds,
      positions: costs[0].map((_, position) => ({
        ...bitsPerByte(at(costs, position)),
        againstReference: difference(at(costs, position), reference),
      })),
      within: bitsPerByte(at(costs, last)),
      beyond: bitsPerByte(beyond),
      gain: difference(beyond, at(costs, last)),
      beyondAgainstNone: difference(beyond, beyondOf(costsOf(none))),
    };
  });
  const windows = stretches.reduce((sum, stretch) => sum + stretch.windows.length, 0);
  return { name, texts: stretches.length, windows, bytes: bytes.reduce((sum, one) => sum + one, 0), curves };
}
