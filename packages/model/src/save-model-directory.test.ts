import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openCheckpoint } from '@therapeutic-moe/checkpoint';
import { describeOnBackends, expectNoLeak } from '@therapeutic-moe/test-kit';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { logitsOf, tinyConfig, tinyModel } from '../test/tiny-model.js';
import {
  type ConfigOverrides,
  loadModelDirectory,
  type SaveProgress,
  saveHuggingFace,
  saveModelDirectory,
} from './index.js';

const ids = [3, 1, 4, 1, 5, 9, 2];
const mixture = tinyConfig().mixture!;
const sharedExpert = { intermediateSize: 11, gate: true };

describeOnBackends('writing a model', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'save-'));
  });
  afterEach(() => rm(directory, { recursive: true }));

  const modelType = async () => JSON.parse(await readFile(join(directory, 'config.json'), 'utf8')).model_type;

  it.each<[string, ConfigOverrides]>([
    ['qwen2_moe', { mixture: { ...mixture, sharedExpert } }],
    ['qwen2_moe', { qkvBias: true, mixture: { ...mixture, layers: [1], moeIntermediateSize: 3, sharedExpert } }],
    ['therapeutic_moe', { mixture: { ...mixture, layers: [1] } }],
    ['therapeutic_moe', { mixture: { ...mixture, normTopkProb: false, numExpertsPerTok: 1 } }],
  ])('keeps what it was, in the layout %s: %j', async (type, overrides) => {
    const model = tinyModel(overrides);
    await saveModelDirectory(model, directory);
    expect(await modelType()).toBe(type);
    const loaded = await loadModelDirectory(directory);
    expect(loaded.config).toEqual(model.config);
    expect(await logitsOf(loaded, ids)).toEqual(await logitsOf(model, ids));
    model.dispose();
    loaded.dispose();
  });

  it('for others adds a shared expert of zeros, which changes no logit', async () => {
    const model = tinyModel({ mixture: { ...mixture, layers: [1] } });
    const { family, changes } = await saveHuggingFace(model, directory);
    expect([family, changes]).toEqual(['qwen2_moe', [expect.stringContaining('its weights are zeros')]]);
    const loaded = await loadModelDirectory(directory);
    expect(loaded.config.mixture).toMatchObject({ layers: [1], sharedExpert: { intermediateSize: 1, gate: true } });
    expect(await logitsOf(loaded, ids)).toEqual(await logitsOf(model, ids));
    model.dispose();
    loaded.dispose();
  });

  it('in shards takes the place of one file, tells how far it is, and leaves no tensor', async () => {
    const model = tinyModel();
    await saveModelDirectory(model, directory);
    const seen: SaveProgress[] = [];
    await expectNoLeak(() =>
      saveModelDirectory(model, directory, { maxShardBytes: 1000, onProgress: (progress) => seen.push(progress) }),
    );
    const files = await readdir(directory);
    expect(files).toContain('model.safetensors.index.json');
    expect(files).not.toContain('model.safetensors');
    const loaded = await loadModelDirectory(directory);
    expect(await logitsOf(loaded, ids)).toEqual(await logitsOf(model, ids));
    const reader = await openCheckpoint(directory);
    const last = seen.slice(-reader.names.length).map(({ tensors }) => tensors); // the check for leaks writes twice
    expect(last).toEqual(reader.names.map((_, i) => i));
    const { start, end } = reader.entry(reader.names.at(-1)!);
    expect(seen.at(-1)).toMatchObject({ totalTensors: reader.names.length });
    expect(seen.at(-1)!.totalBytes - seen.at(-1)!.bytes).toBe(end - start);
    await reader.close();
    model.dispose();
    loaded.dispose();
  });
});
