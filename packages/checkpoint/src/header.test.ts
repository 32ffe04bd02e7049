import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { findDuplicateKey } from './duplicate-keys.js';
import { parseHeader } from './header.js';

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
      'tensor "a": expected a shape of whole numbers from 0 up, got [-1]',
    ],
    ['a fractional dimension', { a: entry('U8', [0.5], 0, 1) }, 1, 'expected a shape of whole numbers'],
    ['a huge dimension', { a: entry('U8', [2 ** 60], 0, 1) }, 1, 'expected a shape of whole numbers'],
    [
      'a product that is too large',
      { a: entry('F32', [2 ** 30, 2 ** 30, 2 ** 30], 0, 4) },
      4,
      'tensor "a": expected 4.951760157141521e+27 bytes',
    ],
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

  it('meets any bytes with its own error, or entries that lie within the file and cover it', () => {
    const header = JSON.stringify({ a: entry('F16', [2, 3], 0, 12), b: entry('I64', [], 12, 20) });
    const damaged = fc
      .array(fc.tuple(fc.nat(header.length - 1), fc.constantFrom(...'{}[]",:0123456789ab-.eF')), { maxLength: 4 })
      .map((edits) =>
        edits.reduce((text, [at, character]) => text.slice(0, at) + character + text.slice(at + 1), header),
      );
    const anything = fc.oneof(
      damaged.map((text) => headerOf(text)),
      fc.uint8Array({ maxLength: 60 }),
      fc.json().map((text) => headerOf(text)),
    );
    let accepted = 0;
    fc.assert(
      fc.property(anything, fc.nat(40), (bytes, dataBytes) => {
        const fileSize = bytes.length + dataBytes;
        let covered: number;
        try {
          const { tensors, dataStart } = parseHeader(bytes, fileSize, 'fuzz');
          covered = tensors.reduce((position, tensor) => {
            expect(tensor.start).toBe(position);
            return tensor.end;
          }, dataStart);
        } catch (error) {
          expect((error as Error).message).toMatch(/^checkpoint: fuzz: /);
          return;
        }
        expect(covered).toBe(fileSize);
        accepted++;
      }),
      { seed: 9, numRuns: 5000, examples: [[headerOf(header), 20]] },
    );
    expect(accepted).toBeGreaterThan(0);
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
    ['{}', undefined],
  ])('%s: %j', (json, expected) => {
    expect(findDuplicateKey(json)).toBe(expected);
  });
});
