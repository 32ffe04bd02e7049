/** Token ids without a pattern; which ones does not matter to the time. */
export function randomIds(count: number, vocabSize: number): Int32Array {
  return Int32Array.from({ length: count }, () => Math.floor(Math.random() * vocabSize));
}
