import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { findDuplicateKey } from './duplicate-keys.js';
import { parseHeader, type SafetensorsHeader } from './header.js';

/** The start of a file: eight bytes of length, then the header. */
function headerOf(json: string, claimed?: number | bigint): Uint8Array {
  const text = new TextEncoder().encode(json);
  const bytes = new Uint8Array(8 + text.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(claimed ?? text.length), true);
  bytes.set(text, 8);
  return bytes;
}

/** Parses a header as the start of a file with `dataBytes` of data. */
function parse(header: unknown, dataBytes: number) {
  const bytes = headerOf(typeof header === 'string' ? header : JSON.stringify(header));
  return parseHeader(bytes, bytes.length + dataBytes, 'x.safetensors');
}

const entry = (dtype: unknown, shape: unknown, ...data_offsets: unknown[]) => ({ dtype, shape, data_offsets });

describe('parseHeader', () => {
  it('gives every tensor its bytes in the file, in the order of the data', () => {
    const header = { b: entry('F32', [2, 3], 4, 28), a: entry('U8', [4], 0, 4), __metadata__: { format: 'pt' } };
    const { tensors, metadata, dataStart } = parse(header, 28);
    expect(dataStart).toBe(8 + JSON.stringify(header).length);
    expect(metadata).toEqual({ format: 'pt' });
    expect(tensors).toEqual([
      { name: 'a', dtype: 'U8', shape: [4], start: dataStart, end: dataStart + 4 },
      { name: 'b', dtype: 'F32', shape: [2, 3], start: dataStart + 4, end: dataStart + 28 },
    ]);
  });

  it('accepts scalars, empty tensors, no tensors, padding, and names that objects know', () => {
    expect(parse({ s: entry('F64', [], 0, 8) }, 8).tensors[0].shape).toEqual([]);
    expect(parse({ e: entry('F32', [0, 5], 0, 0), f: entry('U8', [1], 0, 1) }, 1).tensors).toHaveLength(2);
    expect(parse('{}     ', 0).tensors).toEqual([]);
    const odd = '{"__proto__":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}';
    expect(parse(odd, 1).tensors[0].name).toBe('__proto__');
  });

  it.each<[string, unknown, number, string]>([
    ['text that is not JSON', '{"a":', 0, 'expected a JSON header, got text that does not parse'],
    ['bytes that are not UTF-8', '{"\ud800', 0, 'expected a JSON header'],
    ['a list', '[]', 0, 'expected a header that starts with "{", got "["'],
    ['leading space', ' {}', 0, 'expected a header that starts with "{", got " "'],
    [
      'a name twice',
      '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}',
      2,
      'expected every name once in the header, got "a" twice',
    ],
    ['a field twice', '{"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}', 1, 'got "a.dtype" twice'],
    ['metadata that is not text', { __metadata__: { step: 5 } }, 0, 'expected __metadata__.step to be a string, got 5'],
    ['metadata that is a list', { __metadata__: [] }, 0, 'expected __metadata__ to be an object of strings, got []'],
    ['an entry that is none', { a: 7 }, 0, 'tensor "a": expected {dtype, shape, data_offsets}, got 7'],
    [
      'a field too many',
      { a: { ...entry('U8', [1], 0, 1), offset: 3 } },
      1,
      'tensor "a": expected dtype, shape and data_offsets only, got "offset" too',
    ],
    ['an unknown dtype', { a: entry('F31', [1], 0, 4) }, 4, 'tensor "a": expected a dtype of BOOL, U8'],
    ['a dtype every object has', { a: entry('constructor', [1], 0, 4) }, 4, 'got "constructor"'],
    [
      'a negative dimension',
      { a: entry('U8', [-1], 0, 1) },
      1,
      'tensor "a": expected a shape of whole numbers from 0 up, together below 2^53 bytes, got [-1]',
    ],
    ['a fractional dimension', { a: entry('U8', [0.5], 0, 1) }, 1, 'expected a shape of whole numbers'],
    ['a huge dimension', { a: entry('U8', [2 ** 60], 0, 1) }, 1, 'expected a shape of whole numbers'],
    [
      'a product that is too large',
      { a: entry('F32', [2 ** 30, 2 ** 30, 2 ** 30], 0, 4) },
      4,
      'together below 2^53 bytes, got [1073741824, 1073741824, 1073741824]',
    ],
    [
      'a product that is too large but for a 0',
      { a: entry('F32', [2 ** 50, 2 ** 50, 0], 0, 0) },
      0,
      'together below 2^53 bytes, got [1125899906842624, 1125899906842624, 0]',
    ],
    [
      'a negative zero',
      '{"a":{"dtype":"U8","shape":[-0],"data_offsets":[0,0]}}',
      0,
      'expected a shape of whole numbers',
    ],
    ['a shape that is none', { a: entry('U8', { 0: 1 }, 0, 1) }, 1, 'expected a shape of whole numbers'],
    ['a long dtype, shown short', { a: entry('F'.repeat(999), [1], 0, 4) }, 4, `got "${'F'.repeat(59)}…`],
    ['offsets beyond what a double holds', { a: entry('U8', [1], 2 ** 53, 2 ** 53 + 2) }, 1, 'of whole numbers, got'],
    ['lists nested deeper than the stack', `{"a":${'['.repeat(20011)}${']'.repeat(20011)}}`, 0, 'got [[…]]'],
    ['objects nested deeper than the stack', `${'{"a":'.repeat(200003)}7${'}'.repeat(200003)}`, 0, 'got "a" too'],
    [
      'offsets of one number',
      { a: entry('U8', [1], 0) },
      1,
      'expected data_offsets [start, end] of whole numbers, got [0]',
    ],
    [
      'offsets the wrong way round',
      { a: entry('U8', [1], 1, 0) },
      1,
      'expected data_offsets within the 1 bytes of data, got [1, 0]',
    ],
    [
      'offsets beyond the file',
      { a: entry('F32', [2], 0, 8) },
      7,
      'expected data_offsets within the 7 bytes of data, got [0, 8]; the file is truncated',
    ],
    [
      'a shape that does not fit',
      { a: entry('F32', [3], 0, 8) },
      8,
      'tensor "a": expected 12 bytes for F32 [3], got 8 (data_offsets [0, 8])',
    ],
    [
      'an overlap',
      { a: entry('U8', [3], 0, 3), b: entry('U8', [3], 2, 5) },
      5,
      'tensor "b": expected data to start at byte 3, got 2, which overlaps the tensor before it',
    ],
    [
      'a gap',
      { a: entry('U8', [2], 0, 2), b: entry('U8', [2], 3, 5) },
      5,
      'tensor "b": expected data to start at byte 2, got 3, which leaves a gap before it',
    ],
    ['data nobody owns', { a: entry('U8', [2], 0, 2) }, 3, 'nothing may follow the last tensor'],
  ])('refuses %s', (_name, header, dataBytes, message) => {
    expect(() => parse(header, dataBytes)).toThrow(message);
    expect(() => parse(header, dataBytes)).toThrow('checkpoint: x.safetensors: ');
  });

  it('refuses a length that the file does not have, before it allocates', () => {
    const parsing = (claimed: bigint | number, fileSize: number) => () =>
      parseHeader(headerOf('{}', claimed), fileSize, 'f');
    expect(parsing(3, 10)).toThrow(
      'f: expected a header of 3 bytes after the first 8, got a file of 10 bytes; it is truncated',
    );
    expect(parsing(2n ** 63n, 10)).toThrow(
      'expected a header of at most 100000000 bytes, got a claim of 9223372036854775808',
    );
    expect(parsing(3, 11)).toThrow('expected the 11 bytes up to the end of the header, got 10');
    expect(() => parseHeader(new Uint8Array(7), 7)).toThrow(
      'expected at least 8 bytes of header length, got a file of 7 bytes',
    );
  });

  it('takes metadata longer than a regular expression can scan', () => {
    const note = 'x\\"'.repeat(4_000_003);
    expect(parse({ __metadata__: { note } }, 0).metadata).toEqual({ note });
  });
});

describe('parseHeader, given anything', () => {
  const BYTES = { BOOL: 1, U8: 1, I8: 1, F8_E4M3: 1, F8_E5M2: 1, I16: 2, U16: 2, F16: 2, BF16: 2 };
  const SIZES: Record<string, number> = { ...BYTES, I32: 4, U32: 4, F32: 4, I64: 8, U64: 8, F64: 8 };
  const bytesOf = (dtype: string, shape: readonly number[]): bigint =>
    shape.reduce((product, d) => product * BigInt(d), BigInt(SIZES[dtype]));

  const name = fc.oneof(fc.string({ unit: 'binary', maxLength: 7 }), fc.constantFrom('__proto__', 'constructor', '10'));
  const described = fc.record({
    name: name.filter((text) => text !== '__metadata__'),
    dtype: fc.constantFrom(...Object.keys(SIZES)),
    shape: fc.array(fc.nat(3), { maxLength: 3 }),
  });
  /** A valid header: tensors of any type back to back, listed in any order. */
  const layout = fc.uniqueArray(described, { selector: (tensor) => tensor.name, maxLength: 5 }).chain((tensors) => {
    let end = 0;
    const entries = tensors.map(({ name, dtype, shape }) => {
      const start = end;
      end += Number(bytesOf(dtype, shape));
      return [name, entry(dtype, shape, start, end)] as const;
    });
    const listed = fc.shuffledSubarray(entries, { minLength: entries.length });
    return fc.record({ tensors: fc.constant(tensors), listed, dataBytes: fc.constant(end) });
  });
  const text = (listed: readonly (readonly [string, unknown])[]): string =>
    `{${listed.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`).join()}}`;

  /** The file's size if the header is accepted and sound, or undefined if it is refused by name. */
  function outcome(bytes: Uint8Array, fileSize: number): number | undefined {
    let header: SafetensorsHeader;
    try {
      header = parseHeader(bytes, fileSize, 'fuzz');
    } catch (error) {
      expect((error as Error).message).toMatch(/^checkpoint: fuzz: /);
      return undefined;
    }
    return header.tensors.reduce((position, { dtype, shape, start, end }) => {
      expect(start).toBe(position);
      expect(BigInt(end - start)).toBe(bytesOf(dtype, shape));
      return end;
    }, header.dataStart);
  }

  /** Every accepted file is covered to its last byte; some are accepted and some refused, or the test tests nothing. */
  function check(files: fc.Arbitrary<{ bytes: Uint8Array; dataBytes: number }>): void {
    const seen = { accepted: 0, refused: 0 };
    const property = fc.property(files, ({ bytes, dataBytes }) => {
      const covered = outcome(bytes, bytes.length + dataBytes);
      seen[covered === undefined ? 'refused' : 'accepted']++;
      if (covered !== undefined) expect(covered).toBe(bytes.length + dataBytes);
    });
    fc.assert(property, { seed: 9, numRuns: 3000 });
    expect(Math.min(seen.accepted, seen.refused)).toBeGreaterThan(20);
  }

  it('accepts every layout that the format allows', () => {
    fc.assert(
      fc.property(layout, ({ tensors, listed, dataBytes }) => {
        const bytes = headerOf(text(listed));
        const parsed = parseHeader(bytes, bytes.length + dataBytes, 'fuzz').tensors;
        const byName = new Map(parsed.map(({ name, dtype, shape }) => [name, { name, dtype, shape }]));
        expect(byName).toEqual(new Map(tensors.map((tensor) => [tensor.name, tensor])));
        expect(outcome(bytes, bytes.length + dataBytes)).toBe(bytes.length + dataBytes);
      }),
      { seed: 9, numRuns: 1000 },
    );
  });

  it('refuses bytes, or finds them sound', () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 60 }),
      fc.json({ maxDepth: 5 }).map((json) => headerOf(json)),
      fc.string({ unit: 'binary' }).map((inside) => headerOf(`{${inside}}`)),
    );
    check(fc.record({ bytes, dataBytes: fc.constantFrom(0, 0, 5) }));
  });

  it('refuses a header with damaged characters, or finds it sound', () => {
    const edit = fc.tuple(fc.nat(), fc.constantFrom(...'{}[]",:0123456789ab-.eF'));
    const files = fc.tuple(layout, fc.array(edit, { maxLength: 2 })).map(([{ listed, dataBytes }, edits]) => {
      const bytes = headerOf(text(listed));
      for (const [at, character] of edits) bytes[8 + (at % (bytes.length - 8))] = character.charCodeAt(0);
      return { bytes, dataBytes };
    });
    check(files);
  });

  it('refuses a header with a wrong field, or finds it sound', () => {
    const number = fc.oneof(fc.integer({ min: -2, max: 9 }), fc.constantFrom(-0, 0.5, 2 ** 53, 1e300, null, '1'));
    const field = fc.oneof(
      fc.record({ shape: fc.array(number, { maxLength: 3 }) }),
      fc.record({ data_offsets: fc.array(number, { maxLength: 3 }) }),
      fc.record({ dtype: fc.oneof(fc.constantFrom(...Object.keys(SIZES), 'f32', 'toString'), fc.jsonValue()) }),
      fc.record({ extra: fc.jsonValue() }),
    );
    const files = fc.tuple(layout, fc.nat(), field).map(([{ listed, dataBytes }, at, wrong]) => {
      const damaged = listed.map(([key, value], i) => [key, i === at % 5 ? { ...value, ...wrong } : value] as const);
      return { bytes: headerOf(text(damaged)), dataBytes };
    });
    check(files);
  });

  it('refuses a tensor moved or grown over its neighbours, or finds it sound', () => {
    const by = fc.tuple(fc.constantFrom('move', 'grow'), fc.integer({ min: -5, max: 5 }));
    const files = fc.tuple(layout, fc.nat(), by).map(([{ listed, dataBytes }, at, [how, bytes]]) => {
      const damaged = listed.map(([key, value], i) => {
        if (i !== at % 5) return [key, value] as const;
        const [start, end] = value.data_offsets as [number, number];
        if (how === 'grow') return [key, entry('U8', [end + bytes - start], start, end + bytes)] as const;
        return [key, { ...value, data_offsets: [start + bytes, end + bytes] }] as const;
      });
      return { bytes: headerOf(text(damaged)), dataBytes };
    });
    check(files);
  });

  it('refuses every cut and every surplus byte of a sound file', () => {
    fc.assert(
      fc.property(layout, fc.integer({ min: -9, max: 9 }), ({ listed, dataBytes }, change) => {
        const bytes = headerOf(text(listed));
        const fileSize = bytes.length + dataBytes + change;
        const present = bytes.subarray(0, Math.max(0, Math.min(bytes.length, fileSize)));
        expect(outcome(present, fileSize)).toBe(change === 0 ? fileSize : undefined);
      }),
      { seed: 9, numRuns: 1000 },
    );
  });
});

describe('findDuplicateKey', () => {
  it.each<[string, string | undefined]>([
    ['{"a":1,"b":{"a":2},"c":["a","a"]}', undefined],
    ['{"a":1,"b":{"x":2,"x" : 3}}', 'b.x'],
    ['{"a":1,"\\u0061":2}', 'a'],
    ['{"a":"\\"a\\":1","b":1}', undefined],
    ['[{"a":1},{"a":1}]', undefined],
    ['{"l":[{"k":1,"k":2}]}', 'l.k'],
    ['{"a":{"b":{"c":1}},"d":{"e":1,"e":2}}', 'd.e'],
    ['{"a\\\\":1,"b":"\\\\\\"","a\\\\":2}', 'a\\'],
    ['{}', undefined],
  ])('%s: %j', (json, expected) => {
    expect(findDuplicateKey(json)).toBe(expected);
  });
});
