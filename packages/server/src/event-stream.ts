/**
 * Sends texts as a response body, one pull at a time, so a slow reader slows the writer down and nothing piles up.
 * When the reader goes away, `abandon` is called and the source is closed.
 */
export function eventStream(source: AsyncGenerator<string, unknown>, abandon: () => void): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const next = await source.next();
      if (next.done) controller.close();
      else controller.enqueue(encoder.encode(next.value));
    },
    async cancel() {
      abandon();
      await source.return(undefined);
    },
  });
}
