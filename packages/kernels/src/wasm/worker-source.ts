/**
 * What a worker runs: it takes the next call that is not taken yet, makes it, and sleeps when there is none. Plain
 * JavaScript text, so that it starts from any bundle without a file of its own. `control` and `calls` are laid out as
 * `threads.ts` says.
 */
export const workerSource = `
const { parentPort, workerData } = require('node:worker_threads');
const { module, memory, control, calls, slots, width, thread, spins } = workerData;
const instance = new WebAssembly.Instance(module, { env: { memory, log: Math.log } });
const kernels = Object.values(instance.exports);
parentPort.postMessage('ready');
let idle = 0;
for (;;) {
  const taken = Atomics.load(control, 0); // before issued, so that it is never ahead of it
  const issued = Atomics.load(control, 1);
  if (taken === issued) {
    if (++idle > spins) Atomics.wait(control, 1, issued);
    continue;
  }
  idle = 0;
  if (Atomics.compareExchange(control, 0, taken, (taken + 1) | 0) !== taken) continue;
  const at = (taken & (slots - 1)) * width;
  const scratch = control[4] + thread * control[5];
  const args = [];
  for (let i = 0; i < calls[at + 1]; i++) {
    const value = calls[at + 2 + i];
    args.push(value === -Infinity ? scratch : value);
  }
  try {
    kernels[calls[at]](...args);
  } catch {
    Atomics.store(control, 3, 1);
  }
  Atomics.add(control, 2, 1);
  Atomics.notify(control, 2);
}
`;
