import { describe, expect, it } from 'vitest';
import { relaxedSimdModule } from './generated/relaxed-simd-module.js';
import { shareMemory } from './share-memory.js';

const header = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
const page = 65536;

const instantiate = (binary: Uint8Array<ArrayBuffer>, imports = {}) =>
  new WebAssembly.Instance(new WebAssembly.Module(binary), imports);

describe('shareMemory', () => {
  it("makes a module's own memory shared", () => {
    const binary = Uint8Array.from([...header, 5, 4, 1, 1, 1, 2, 7, 7, 1, 3, 0x6d, 0x65, 0x6d, 2, 0]);
    const memoryOf = (bytes: Uint8Array<ArrayBuffer>) => instantiate(bytes).exports.mem as WebAssembly.Memory;
    const memory = memoryOf(shareMemory(binary)!);
    expect(memory.buffer).toBeInstanceOf(SharedArrayBuffer);
    expect(memory.buffer.byteLength).toBe(page);
    expect(memory.grow(1)).toBe(1);
    expect(memoryOf(binary).buffer).toBeInstanceOf(ArrayBuffer); // the given bytes stay as they were
  });

  it('makes an imported memory shared, past imports of other kinds', () => {
    const types = [1, 4, 1, 0x60, 0, 0];
    const fn = [1, 0x65, 1, 0x66, 0, 0];
    const table = [1, 0x65, 1, 0x74, 1, 0x70, 1, 1, 2];
    const global = [1, 0x65, 1, 0x67, 3, 0x7f, 0];
    const memory = [1, 0x65, 1, 0x6d, 2, 1, 1, 2];
    const imports = [4, ...fn, ...table, ...global, ...memory];
    const binary = Uint8Array.from([...header, ...types, 2, imports.length, ...imports]);
    const given = {
      f: () => {},
      t: new WebAssembly.Table({ element: 'anyfunc', initial: 1, maximum: 2 }),
      g: new WebAssembly.Global({ value: 'i32' }, 5),
    };
    const [own, shared] = [false, true].map((kind) => new WebAssembly.Memory({ initial: 1, maximum: 2, shared: kind }));
    expect(() => instantiate(shareMemory(binary)!, { e: { ...given, m: shared } })).not.toThrow();
    expect(() => instantiate(shareMemory(binary)!, { e: { ...given, m: own } })).toThrow(WebAssembly.LinkError);
    expect(() => instantiate(binary, { e: { ...given, m: own } })).not.toThrow();
  });

  it('accepts the kernels of this package', () => {
    const binary = Uint8Array.from(atob(relaxedSimdModule), (c) => c.charCodeAt(0));
    const memory = new WebAssembly.Memory({ initial: 1, maximum: page, shared: true });
    expect(() => instantiate(shareMemory(binary)!, { env: { memory, log: Math.log } })).not.toThrow();
  });

  it('returns undefined where no memory names a limit', () => {
    expect(shareMemory(Uint8Array.from(header))).toBeUndefined();
    expect(shareMemory(Uint8Array.from([...header, 5, 3, 1, 0, 1]))).toBeUndefined();
  });

  it('refuses what is not a WebAssembly binary', () => {
    expect(() => shareMemory(Uint8Array.of(1, 2, 3))).toThrow('expected a WebAssembly binary, got 3 bytes');
    expect(() => shareMemory(new Uint8Array(11))).toThrow('expected a WebAssembly binary, got 11 bytes');
  });
});
