/**
 * Turns the first SIGINT or SIGTERM into an abort, so that a run can save and stop; a second one ends the process as usual.
 *
 * @returns the signal, and `dispose` to stop listening.
 */
export function stopOnSignals(names: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM']): {
  signal: AbortSignal;
  dispose(): void;
} {
  const controller = new AbortController();
  const dispose = () => {
    for (const name of names) process.off(name, stop);
  };
  const stop = (name: NodeJS.Signals) => {
    dispose();
    controller.abort(name);
  };
  for (const name of names) process.on(name, stop);
  return { signal: controller.signal, dispose };
}
