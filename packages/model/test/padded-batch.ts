/** A batch of two rows of five tokens; with `padding`, so many more after each. @param domainOf the domain of a token. */
export function paddedBatch(padding: number, domainOf: (token: number) => number) {
  const seq = 5 + padding;
  const at = (f: (i: number) => number, filler: number) =>
    Int32Array.from({ length: 2 * seq }, (_, i) => (i % seq < 5 ? f(5 * Math.floor(i / seq) + (i % seq)) : filler));
  return {
    batch: 2,
    seq,
    ids: at((i) => (7 * i + i * i) % 13, 0),
    targets: at((i) => (5 * i + 3) % 13, -100),
    mask: Uint8Array.from(at(() => 1, 0)),
    domains: at(domainOf, -1),
  };
}
