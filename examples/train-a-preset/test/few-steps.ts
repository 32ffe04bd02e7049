import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Options that let an example run through in seconds: invented rows, few steps, a narrow model. */
export async function fewSteps(overrides: object): Promise<Record<string, unknown> & { output: string }> {
  const output = await mkdtemp(join(tmpdir(), 'example-'));
  const data = join(output, 'rows.jsonl');
  const rows = Array.from({ length: 40 }, (_, i) => ({
    text: `The ${['tide', 'wind', 'mind', 'night'][i % 4]} grows calm when ${['rest', 'light', 'a friend'][i % 3]} comes by, ${i} times over.`,
    domain: i % 2 ? 'mental_health' : 'psychology',
  }));
  await writeFile(data, rows.map((row) => JSON.stringify(row)).join('\n'));
  const narrow = { hiddenSize: 16, intermediateSize: 16, numAttentionHeads: 2, numKeyValueHeads: 1, headDim: 8 };
  return {
    data,
    output,
    steps: 20,
    backend: 'wasm',
    batchSize: 4,
    sequenceLength: 16,
    overrides: { ...narrow, ...overrides },
  };
}
