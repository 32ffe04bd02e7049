import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { modelDirectory } from './index.js';

describe.skipIf(!existsSync(modelDirectory))('modelDirectory (skipped where the model folder is absent)', () => {
  it('has every file that a loader reads', () => {
    const names = ['config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json'];
    expect(names.filter((name) => !existsSync(join(modelDirectory, name)))).toEqual([]);
  });

  it('is a Mixtral with one expert for each of the four domains', async () => {
    const config = JSON.parse(await readFile(join(modelDirectory, 'config.json'), 'utf8'));
    expect(config.model_type).toBe('mixtral');
    expect(config.num_local_experts).toBe(4);
    expect(config.therapeutic_moe.domains).toEqual([
      'psychology',
      'mental_health',
      'bias_detection',
      'general_therapeutic',
    ]);
  });
});
