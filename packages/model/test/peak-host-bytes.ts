import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

const names = ['Float32Array', 'Int32Array', 'Uint32Array', 'Uint16Array', 'Int8Array', 'Uint8Array'] as const;
/** Arrays of fewer bytes are not looked at. */
const SMALL = 1 << 16;

/**
 * The most bytes of typed arrays that were alive at once during a computation, beyond those before it: garbage is
 * collected before they are counted, each time that one is made. On cpu that includes what tensors hold.
 */
export async function peakHostBytes(compute: () => Promise<unknown>): Promise<number> {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const alive = () => {
    collect();
    return process.memoryUsage().arrayBuffers;
  };
  const originals = names.map((name) => [name, globalThis[name]] as const);
  alive(); // arrays that die in one collection are freed while the next one starts
  await new Promise(setImmediate);
  const before = alive();
  let peak = 0;
  for (const [name, original] of originals) {
    const construct = (target: object, args: unknown[], made: object) => {
      const array = Reflect.construct(target as typeof Uint8Array, args, made as typeof Uint8Array) as Uint8Array;
      if (!(args[0] instanceof ArrayBuffer) && array.byteLength >= SMALL) peak = Math.max(peak, alive() - before);
      return array;
    };
    Object.assign(globalThis, { [name]: new Proxy(original, { construct }) });
  }
  try {
    await compute();
  } finally {
    Object.assign(globalThis, Object.fromEntries(originals));
  }
  return peak;
}
