import type { RopeScaling } from '@therapeutic-moe/attention';
import { describe, expect, it } from 'vitest';
import { tinyConfig } from '../../test/tiny-model.js';
import type { ConfigOverrides } from '../index.js';
import { configFromOwn, configToOwn } from '../own-layout/config.js';
import { fitsHuggingFace } from './fits.js';

const yarn: RopeScaling = { type: 'yarn', factor: 2, originalMaxPositionEmbeddings: 8 };
const dynamic: RopeScaling = { type: 'dynamic', factor: 2, originalMaxPositionEmbeddings: 17 };

describe('fitsHuggingFace', () => {
  it.each<[string, ConfigOverrides, boolean]>([
    ['half-split pairs', {}, true],
    ['neighbouring pairs', { ropeInterleaved: true }, false],
    ['YaRN', { ropeScaling: yarn }, true],
    ['NTK-aware scaling', { ropeScaling: { type: 'ntk', factor: 2 } }, false],
    ['dynamic scaling from the trained length', { ropeScaling: dynamic }, true],
    ['dynamic scaling from another length', { ropeScaling: dynamic, maxPositionEmbeddings: 23 }, false],
    ['a sliding window', { slidingWindow: 5 }, true],
  ])('%s: %j fits: %s', (_, overrides, fits) => {
    const config = tinyConfig(overrides);
    expect(fitsHuggingFace(config)).toBe(fits);
    expect(configFromOwn(JSON.parse(JSON.stringify(configToOwn(config, 'float32'))), 'config.json')).toEqual(config);
  });
});
