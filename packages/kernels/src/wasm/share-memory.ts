const importSection = 2;
const memorySection = 5;
const magic = 0x6d736100; // '\0asm'
const limited = 1;
const limitedAndShared = 3;

/**
 * A copy of a WebAssembly binary whose one memory, imported or its own, is shared between threads: a flag of its
 * declaration, in the WebAssembly binary format 5.3.6. Ordinary loads and stores work on shared memory, so code
 * compiled for one thread runs as before, and workers can instantiate other modules on the same memory.
 *
 * @returns undefined when the binary declares no memory with a limit, which sharing needs.
 * @throws when these bytes are not a WebAssembly binary.
 */
export function shareMemory(binary: Uint8Array): Uint8Array<ArrayBuffer> | undefined {
  const reader = new Reader(binary);
  if (binary.length < 8 || reader.uint32() !== magic) {
    throw new Error(`shareMemory: expected a WebAssembly binary, got ${binary.length} bytes that do not start as one.`);
  }
  reader.at = 8; // past the version
  while (reader.at < binary.length) {
    const id = reader.byte();
    const end = reader.leb() + reader.at;
    const flag =
      id === importSection ? importedMemory(reader) : id === memorySection ? declaredMemory(reader) : undefined;
    if (flag !== undefined) return binary[flag] === limited ? withByte(binary, flag, limitedAndShared) : undefined;
    reader.at = end;
  }
  return undefined;
}

/** Where the flags of the module's own memory stand. */
function declaredMemory(reader: Reader): number | undefined {
  return reader.leb() > 0 ? reader.at : undefined;
}

/** Where the flags of an imported memory stand, if one is imported. */
function importedMemory(reader: Reader): number | undefined {
  for (let left = reader.leb(); left > 0; left--) {
    reader.skipName(); // of the module
    reader.skipName();
    const kind = reader.byte();
    if (kind === 0) reader.leb();
    else if (kind === 1) reader.skipTable();
    else if (kind === 2) return reader.at;
    else reader.at += 2; // a global, or an exception tag
  }
  return undefined;
}

function withByte(binary: Uint8Array, at: number, value: number): Uint8Array<ArrayBuffer> {
  const copy = Uint8Array.from(binary);
  copy[at] = value;
  return copy;
}

class Reader {
  at = 0;
  constructor(private readonly bytes: Uint8Array) {}
  byte(): number {
    return this.bytes[this.at++]!;
  }
  uint32(): number {
    return this.byte() | (this.byte() << 8) | (this.byte() << 16) | (this.byte() << 24);
  }
  /** An unsigned number in the format's variable-length code. */
  leb(): number {
    const byte = this.byte();
    return byte < 128 ? byte : (byte & 127) + 128 * this.leb();
  }
  skipName(): void {
    const length = this.leb();
    this.at += length;
  }
  skipTable(): void {
    this.at += 1; // element type
    const hasLimit = this.byte() & 1;
    this.leb();
    if (hasLimit) this.leb();
  }
}
