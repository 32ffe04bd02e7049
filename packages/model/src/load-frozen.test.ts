import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openCheckpoint, packRows, writeSafetensors } from '@therapeutic-moe/checkpoint';
import { describeOnBackends, expectClose, expectNoLeak } from '@therapeutic-moe/test-kit';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { peakHostBytes } from '../test/peak-host-bytes.js';
import { tinyModel } from '../test/tiny-model.js';
import { FrozenSink } from './frozen-sink.js';
import { tensorMap } from './hugging-face/tensor-map.js';
import { saveModelDirectory } from './index.js';
import { loadFrozen } from './load-frozen.js';
import { LoadPlan } from './load-parameters.js';

/** Our own layout's rows of inputs, and Hugging Face's of outputs. */
const layouts = { 'rows of inputs': false, 'rows of outputs': true } as const;
const [inputs, outputs] = [523, 1021];

describeOnBackends('a frozen load', (backend) => {
  it('leaves nothing behind where rows of some weight have not come', async () => {
    const model = tinyModel();
    await saveModelDirectory(model, directory);
    const reader = await openCheckpoint(directory);
    const map = tensorMap(model.config, reader.names);
    map.delete('lm_head.weight');
    await expectNoLeak(async () => {
      await expect(loadFrozen(model.config, 'int8', reader, map)).rejects.toThrow('have not come');
    });
    await reader.close();
    model.dispose();
  });

  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'frozen-load-'));
  });
  afterEach(() => rm(directory, { recursive: true }));

  for (const [layout, turned] of Object.entries(layouts))
    for (const stored of ['F32', 'F16', 'BF16'] as const)
      for (const dtype of ['bfloat16', 'float16', 'int8'] as const)
        it(`of ${layout} from ${stored} as ${dtype} is what the whole gives, and holds less than twice the tensor`, async () => {
          const file = join(directory, 'w.safetensors');
          const shape = turned ? [outputs, inputs] : [inputs, outputs];
          const at = (output: number, input: number) => ((output * 7 + input * 3) % 251) - 125; // exact in 8 bits
          const data = Float32Array.from({ length: inputs * outputs }, (_, i) => {
            const [row, column] = [Math.floor(i / shape[1]!), i % shape[1]!];
            return turned ? at(row, column) : at(column, row);
          });
          await writeSafetensors(file, [{ name: 'w', shape, data, dtype: stored }]);
          const reader = await openCheckpoint(file);
          const pieces = [{ name: 'w', shape, start: 0, ...(turned && { rowStride: outputs }) }];
          const sink = new FrozenSink({ shape: [inputs, outputs], frozenAs: 'linear' }, dtype);
          const load = () => {
            const plan = new LoadPlan(reader, new Map([['w', pieces]]));
            return plan.run(plan.buffers(), () => sink);
          };
          const { start, end } = reader.entry('w');
          if (backend === 'cpu') expect(await peakHostBytes(load)).toBeLessThan(2 * (end - start));
          else await load();
          const rows = Float32Array.from({ length: inputs * outputs }, (_, i) =>
            at(Math.floor(i / inputs), i % inputs),
          );
          const expected = packRows(rows, [outputs, inputs], dtype);
          const { packed, scales } = sink.take();
          const { buffer, byteOffset, length } = await packed.data(); // words, whatever the backend keeps them as
          const words = new Int32Array(buffer, byteOffset, length);
          const differs = words.findIndex((word, i) => word !== expected.packed[i]);
          expect([packed.size, differs]).toEqual([expected.packed.length, -1]);
          if (scales) await expectClose(scales, [...expected.scales!], 0);
          packed.dispose();
          scales?.dispose();
          await reader.close();
        });
});
