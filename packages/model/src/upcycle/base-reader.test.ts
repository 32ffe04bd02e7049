import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CheckpointReader, openCheckpoint } from '@therapeutic-moe/checkpoint';
import { describeOnBackends, expectNoLeak } from '@therapeutic-moe/test-kit';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { peakHostBytes } from '../../test/peak-host-bytes.js';
import { tinyModel } from '../../test/tiny-model.js';
import { tensorMap } from '../hugging-face/tensor-map.js';
import { saveModelDirectory } from '../index.js';
import { BaseReader } from './base-reader.js';

const [hiddenSize, vocabSize] = [53, 2999];

describeOnBackends('the reader of a base', (backend) => {
  let directory: string;
  let checkpoint: CheckpointReader;
  let base: BaseReader;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'base-'));
    const model = tinyModel({ hiddenSize, vocabSize, mixture: undefined });
    await saveModelDirectory(model, directory, { dtype: 'BF16' });
    checkpoint = await openCheckpoint(directory);
    base = new BaseReader(model.config, checkpoint, tensorMap(model.config));
    model.dispose();
  });
  afterEach(async () => {
    await checkpoint.close();
    await rm(directory, { recursive: true });
  });

  it('gives matrices turned, or as they are stored', async () => {
    const stored = await checkpoint.read('lm_head.weight'); // [vocab, hidden]
    const ours = await base.read('lm_head.weight');
    const turned = Float32Array.from(
      ours,
      (_, at) => stored[(at % vocabSize) * hiddenSize + Math.floor(at / vocabSize)]!,
    );
    expect(Buffer.compare(Buffer.from(ours.buffer), Buffer.from(turned.buffer))).toBe(0);
    const piece = { name: 'lm_head.weight', shape: [vocabSize, hiddenSize], start: 0, rowStride: vocabSize };
    const alike = await base.readPiece('lm_head.weight', piece);
    expect(Buffer.compare(Buffer.from(alike.buffer), Buffer.from(stored.buffer))).toBe(0);
  });

  it('reads rows alone', async () => {
    const all = await checkpoint.read('model.embed_tokens.weight');
    const rows = [7, 2998, 0, 7];
    const expected = rows.flatMap((row) => [...all.subarray(row * hiddenSize, (row + 1) * hiddenSize)]);
    const only: CheckpointReader = Object.assign(Object.create(checkpoint), {
      read: () => Promise.reject(new Error('a whole tensor was read')),
    });
    const reader = new BaseReader(base.config, only, base.map);
    expect([...(await reader.readRows('model.embed_tokens.weight', rows))]).toEqual(expected);
  });

  it.skipIf(backend !== 'cpu')('holds little more than the values that it gives', async () => {
    for (const path of ['lm_head.weight', 'model.embed_tokens.weight'])
      expect(await peakHostBytes(() => base.read(path))).toBeLessThan(1.25 * 4 * hiddenSize * vocabSize);
  });

  it('leaves no part of a layer behind that it cannot read', async () => {
    await checkpoint.close();
    await expectNoLeak(async () => {
      await expect(base.layer(0)).rejects.toThrow('was read after close()');
    });
  });
});
