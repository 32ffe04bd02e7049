import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { type CheckpointReader, type NamedArray, openCheckpoint, writeSafetensors } from '@therapeutic-moe/checkpoint';
import { describeOnBackends, expectClose } from '@therapeutic-moe/test-kit';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Int8Weights } from './hugging-face/quantization.js';
import type { TensorPiece } from './hugging-face/tensor-map.js';
import { LoadPlan } from './load-parameters.js';
import { variableSink } from './parameter-sink.js';

/** Three experts of `[hidden 11, 2 * inner 26]`, as files have them: gate and up apart, or all in one tensor. */
const [experts, hidden, inner] = [3, 11, 13];
const separate = Array.from({ length: 2 * experts }, (_, i): TensorPiece => {
  const start = (i >> 1) * hidden * 2 * inner + (i % 2) * inner;
  return { name: `w${i}`, shape: [inner, hidden], start, rowStride: 2 * inner };
});
const fused = Array.from({ length: experts }, (_, e): TensorPiece => {
  const start = e * hidden * 2 * inner;
  const within = { shape: [experts, 2 * inner, hidden], start };
  return { name: 'all', shape: [2 * inner, hidden], within, start, rowStride: 2 * inner };
});
const plain: TensorPiece[] = [{ name: 'rows', shape: [5, 7, 17], start: 0 }];

/** Hugging Face's values of a piece: the plain way, one at a time. */
function valuesOf({ shape, start, rowStride }: TensorPiece, values: Float32Array): Float32Array {
  const size = shape.reduce((product, n) => product * n, 1);
  const width = shape.at(-1)!;
  return Float32Array.from({ length: size }, (_, at) => {
    const [row, column] = [Math.floor(at / width), at % width];
    return values[rowStride === undefined ? start + at : start + column * rowStride + row]!;
  });
}

/** Hugging Face's tensors of a parameter of ours. */
function stored(pieces: readonly TensorPiece[], values: Float32Array, dtype: NamedArray['dtype']): NamedArray[] {
  const parts = pieces.map(({ name, shape, ...piece }) => ({
    name,
    shape,
    data: valuesOf({ name, shape, ...piece }, values),
    dtype,
  }));
  if (!pieces[0]!.within) return parts;
  const data = Float32Array.from(parts.flatMap((part) => [...part.data]));
  return [{ name: pieces[0]!.name, shape: pieces[0]!.within.shape, data, dtype }];
}

/** The buffers that a reader was asked to fill. */
function watch(reader: CheckpointReader): { reader: CheckpointReader; lent: Set<ArrayBufferLike> } {
  const lent = new Set<ArrayBufferLike>();
  const readPart: CheckpointReader['readPart'] = (name, offset, target) => {
    lent.add(target.buffer);
    return reader.readPart(name, offset, target);
  };
  const read = () => Promise.reject(new Error('a whole tensor was read'));
  const { names, metadata, path } = reader;
  const entry = (name: string) => reader.entry(name);
  const fileOf = (name: string) => reader.fileOf(name);
  const close = () => reader.close();
  return { reader: { names, metadata, path, entry, fileOf, read, readRaw: read, readPart, close }, lent };
}

describeOnBackends('a load', (backend) => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'load-'));
  });
  afterEach(() => rm(directory, { recursive: true }));

  for (const [what, pieces, shape] of [
    ['experts that lie apart', separate, [experts, hidden, 2 * inner]],
    ['experts of one tensor', fused, [experts, hidden, 2 * inner]],
    ['a parameter as it stands', plain, [5, 7, 17]],
  ] as const) {
    for (const dtype of ['F32', 'F16', 'BF16'] as const) {
      it(`of ${what} from ${dtype}, in parts, holds twice the largest tensor at most`, async () => {
        const size = shape.reduce((product, n) => product * n, 1);
        const values = Float32Array.from({ length: size }, (_, i) => (i % 127) - 63); // exact in 8 bits
        const tensors = stored(pieces, values, dtype);
        await writeSafetensors(join(directory, 'w.safetensors'), tensors);
        const { reader, lent } = watch(await openCheckpoint(join(directory, 'w.safetensors')));
        const plan = new LoadPlan(reader, new Map([['w', pieces]]));
        const buffers = plan.buffers();
        const variable = tf.tidy(() => tf.variable(tf.fill([...shape], 0)));
        const before = tf.memory().numTensors;
        await plan.run(buffers, () => variableSink(variable, buffers.staging));
        expect(tf.memory().numTensors).toBe(before);
        await expectClose(variable, [...values], 0);
        const largest = Math.max(...reader.names.map((name) => reader.entry(name).end - reader.entry(name).start));
        expect([...lent].sort()).toEqual(buffers.stored.map(({ buffer }) => buffer).sort());
        const held = buffers.stored[0].byteLength + buffers.stored[1].byteLength + buffers.staging.byteLength;
        expect(held).toBeLessThanOrEqual(2 * largest);
        variable.dispose();
        await reader.close();
      });
    }
  }

  it.skipIf(backend === 'cpu')('writes into the variable that is there', async () => {
    const values = Float32Array.from({ length: experts * hidden * 2 * inner }, (_, i) => i);
    await writeSafetensors(join(directory, 'w.safetensors'), stored(separate, values, 'F32'));
    const reader = await openCheckpoint(join(directory, 'w.safetensors'));
    const plan = new LoadPlan(reader, new Map([['w', separate]]));
    const buffers = plan.buffers();
    const variable = tf.tidy(() => tf.variable(tf.fill([experts, hidden, 2 * inner], 0)));
    const { dataId } = variable;
    await plan.run(buffers, () => variableSink(variable, buffers.staging));
    expect(variable.dataId).toBe(dataId);
    variable.dispose();
    await reader.close();
  });

  it('may have more parts than a call takes arguments', () => {
    const pieces = Array.from({ length: 200_003 }, (_, i) => ({ name: `w${i}`, shape: [1, 2], start: 2 * i }));
    const reader = { entry: () => ({ dtype: 'BF16' }) } as unknown as CheckpointReader;
    const { stored, staging } = new LoadPlan(reader, new Map([['w', pieces]])).buffers();
    expect([stored[0].length, staging.length]).toEqual([4, 2]);
  });

  it('ends with the error of a sink, and with that of a file', async () => {
    const values = new Float32Array(5 * 7 * 17);
    await writeSafetensors(join(directory, 'w.safetensors'), stored(plain, values, 'F32'));
    const reader = await openCheckpoint(join(directory, 'w.safetensors'));
    const plan = new LoadPlan(reader, new Map([['w', plain]]));
    const failing = () => ({
      write: () => {
        throw new Error('the device is full');
      },
    });
    await expect(plan.run(plan.buffers(), failing)).rejects.toThrow('the device is full');
    await reader.close();
    await expect(plan.run(plan.buffers(), failing)).rejects.toThrow('was read after close()');
  });

  it('ends with the error of the part that is read ahead, which fails while scales are read', async () => {
    const int8 = new Int8Weights('weight_scale', 1, []);
    const [wide, part] = [2048, 1 << 20];
    const pieces = [{ name: 'q.weight', shape: [2 * wide, wide], start: 0, rowStride: 2 * wide }];
    const unhandled: unknown[] = [];
    const listen = (reason: unknown) => unhandled.push(reason);
    process.on('unhandledRejection', listen);
    const reader = {
      entry: () => ({ dtype: 'I8' }),
      read: async () => {
        await new Promise((resolve) => setTimeout(resolve, 20)); // ends after the part ahead has failed
        return new Float32Array(2 * wide);
      },
      readPart: async (_: string, offset: number) => {
        if (offset >= part) throw new Error('the disk is gone');
      },
    } as unknown as CheckpointReader;
    const plan = new LoadPlan(reader, new Map([['w', pieces]]));
    await expect(plan.run(plan.buffers(), () => ({ write: () => undefined }), int8)).rejects.toThrow(
      'the disk is gone',
    );
    process.off('unhandledRejection', listen);
    expect(unhandled).toEqual([]);
  });
});
