import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bfloat16ToFloat32 } from '../src/bfloat16.js';
import { type CheckpointReader, openCheckpoint } from '../src/checkpoint-reader.js';
import { float16ToFloat32 } from '../src/float16.js';
import {
  type NamedArray,
  type WritableDtype,
  writeSafetensors,
  writeShardedSafetensors,
} from '../src/safetensors-writer.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'round-trip-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

/** A tensor to write, and the bytes that the file must then hold. */
interface Case {
  readonly tensor: NamedArray;
  readonly stored: Uint8Array;
}

const WORD: Record<WritableDtype, number> = { F32: 4, I32: 4, F16: 2, BF16: 2, U8: 1 };

/** Values of the type from their bit patterns, so that infinities, subnormals and both zeros occur. */
function decoded(dtype: WritableDtype, stored: Uint8Array): NamedArray['data'] {
  const { buffer } = stored.slice();
  if (dtype === 'F16') return float16ToFloat32(new Uint16Array(buffer));
  if (dtype === 'BF16') return bfloat16ToFloat32(new Uint16Array(buffer));
  if (dtype === 'F32') return new Float32Array(buffer);
  return dtype === 'I32' ? new Int32Array(buffer) : new Uint8Array(buffer);
}

const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 7 }),
  fc.constantFrom('__proto__', 'constructor', '10', ''),
);
const aCase: fc.Arbitrary<Case> = fc
  .record({
    name: text.filter((name) => name !== '__metadata__'),
    dtype: fc.constantFrom<WritableDtype>('F32', 'I32', 'F16', 'BF16', 'U8'),
    shape: fc.array(fc.nat(3), { maxLength: 3 }),
  })
  .chain(({ name, dtype, shape }) => {
    const length = WORD[dtype] * shape.reduce((product, d) => product * d, 1);
    return fc.uint8Array({ minLength: length, maxLength: length }).map((bits) => {
      const data = decoded(dtype, bits);
      return { tensor: { name, dtype, shape, data }, stored: bits };
    });
  })
  .filter(({ tensor: { data, dtype } }) => dtype === 'F32' || !data.some(Number.isNaN)); // halves lose a NaN's signal bit
const cases = fc.uniqueArray(aCase, { selector: ({ tensor }) => tensor.name, maxLength: 5 });
const metadata = fc.dictionary(text, text, { maxKeys: 3 });

async function expectHolds(reader: CheckpointReader, written: readonly Case[]): Promise<void> {
  expect(reader.names).toEqual(written.map(({ tensor }) => tensor.name).sort());
  for (const { tensor, stored } of written) {
    const { dtype, shape } = reader.entry(tensor.name);
    expect({ dtype, shape }).toEqual({ dtype: tensor.dtype, shape: tensor.shape });
    expect(await reader.readRaw(tensor.name)).toEqual(stored);
    if (tensor.data instanceof Float32Array) expect(await reader.read(tensor.name)).toEqual(tensor.data);
  }
}

describe('written, then read', () => {
  it('is the same tensors and metadata', async () => {
    const path = join(folder, 'one.safetensors');
    await fc.assert(
      fc.asyncProperty(cases, metadata, async (written, notes) => {
        await writeSafetensors(
          path,
          written.map(({ tensor }) => tensor),
          notes,
        );
        const reader = await openCheckpoint(path);
        try {
          await expectHolds(reader, written);
          expect(new Map(Object.entries(reader.metadata))).toEqual(new Map(Object.entries(notes)));
        } finally {
          await reader.close();
        }
      }),
      { seed: 11, numRuns: 200 },
    );
  });

  it('is the same tensors over any number of shards', async () => {
    await fc.assert(
      fc.asyncProperty(cases, fc.integer({ min: 1, max: 100 }), async (written, maxShardBytes) => {
        fc.pre(written.length > 0);
        const directory = await mkdtemp(join(folder, 'shards-'));
        await writeShardedSafetensors(
          directory,
          written.map(({ tensor }) => tensor),
          { maxShardBytes },
        );
        const reader = await openCheckpoint(directory);
        try {
          await expectHolds(reader, written);
        } finally {
          await reader.close();
        }
      }),
      { seed: 13, numRuns: 60 },
    );
  });
});
