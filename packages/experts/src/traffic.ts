import { blockOf, type Placement } from './placement.js';

/** What tokens and experts on several devices have to tell each other in one forward pass of one layer. */
export interface Traffic {
  /** `[devices][devices]` bytes of hidden states from the device of the token to that of the expert. */
  readonly dispatch: readonly (readonly number[])[];
  /** `[devices][devices]` bytes of expert outputs back: `dispatch` transposed. */
  readonly combine: readonly (readonly number[])[];
  /** Share of choices whose expert lives where the token does: they cross no wire. */
  readonly localShare: number;
  /** The most bytes that one device sends in both steps together, without what stays at home. */
  readonly busiestSender: number;
}

/**
 * Counts the choices of each device's tokens, where the tokens are cut into equal neighbouring blocks, one per device
 * (data parallel; where that does not divide, the first blocks are one longer).
 *
 * @param indices chosen experts `[tokens, k]` row by row.
 * @returns `[devices][experts]`.
 * @throws when the choices are not whole tokens, or an index names no expert.
 */
export function choicesByDevice(
  indices: ArrayLike<number>,
  k: number,
  { experts, devices }: { readonly experts: number; readonly devices: number },
): number[][] {
  const tokens = indices.length / k;
  if (!Number.isInteger(tokens)) {
    throw new Error(`choicesByDevice: ${indices.length} choices are not whole tokens of ${k} experts each.`);
  }
  if (!Number.isInteger(devices) || devices < 1) {
    throw new Error(`choicesByDevice: devices must be a whole number of 1 or more, got ${devices}.`);
  }
  const counts = Array.from({ length: devices }, () => new Array<number>(experts).fill(0));
  for (let i = 0; i < indices.length; i++) {
    const [token, expert] = [Math.floor(i / k), indices[i]!];
    if (!(expert in counts[0]!)) {
      throw new Error(`choicesByDevice: token ${token} chose expert ${expert}, but experts are 0 to ${experts - 1}.`);
    }
    counts[blockOf(token, tokens, devices)]![expert]!++;
  }
  return counts;
}

/**
 * The all-to-all traffic that a placement implies (GShard, arXiv:2006.16668): every choice carries one row to the
 * expert's device and one back. A backward pass sends the same once more. A token that visits two experts of one device
 * is counted twice, as dispatch by rows sends it.
 *
 * @param counts `[devices][experts]` choices by the device of the token (`choicesByDevice`).
 * @param bytesPerRow bytes of one hidden state, `4 * hidden` in float32.
 * @throws when the counts do not match the placement.
 */
export function allToAllTraffic(
  placement: Placement,
  counts: readonly (readonly number[])[],
  bytesPerRow: number,
): Traffic {
  const [devices, experts] = [placement.expertsOf.length, placement.deviceOf.length];
  if (counts.length !== devices || counts.some((row) => row.length !== experts)) {
    throw new Error(
      `allToAllTraffic: counts must be [${devices}][${experts}] like the placement, got ${counts.length} rows of ` +
        `${counts.map((row) => row.length).join(', ')}.`,
    );
  }
  const dispatch = counts.map((row) =>
    placement.expertsOf.map((held) => held.reduce((sum, expert) => sum + row[expert]!, 0) * bytesPerRow),
  );
  const combine = dispatch.map((_, device) => dispatch.map((row) => row[device]!));
  const total = sum(dispatch.flat());
  if (!(total > 0)) {
    throw new Error(`allToAllTraffic: ${total} bytes were routed in all; count the choices of some tokens first.`);
  }
  const local = sum(dispatch.map((row, device) => row[device]!));
  const sent = dispatch.map((row, device) => sum(row) + sum(combine[device]!) - 2 * row[device]!);
  return { dispatch, combine, localShare: local / total, busiestSender: Math.max(...sent) };
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
