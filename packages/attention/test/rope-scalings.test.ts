import { readFileSync } from 'node:fs';
import { expectClose } from '@therapeutic-moe/test-kit';
import { describe, expect, it } from 'vitest';
import { type RopeScaling, resolveRopeConfig, ropeFrequencies } from '../src/index.js';

/** transformers computes in float32, up to the power of a base of 500,000. */
const CLOSE = 1e-6;

interface Case {
  readonly name: string;
  readonly max_position_embeddings: number;
  readonly length: number;
  readonly rope: Readonly<Record<string, unknown>>;
  readonly frequencies: number[];
  readonly attention_factor: number;
}

const fixture: { headDim: number; cases: Case[] } = JSON.parse(
  readFileSync(new URL('./fixtures/rope-scalings.json', import.meta.url), 'utf8'),
);

/** transformers' `original_max_position_embeddings` as our `originalMaxPositionEmbeddings`; dynamic NTK has no such field. */
function scalingOf({ rope, max_position_embeddings }: Case): RopeScaling {
  const { rope_type, rope_theta, ...settings } = rope;
  const ours = Object.entries(settings).map(([key, value]) => [key.replace(/_(.)/g, (_, c) => c.toUpperCase()), value]);
  const original = rope_type === 'dynamic' ? { originalMaxPositionEmbeddings: max_position_embeddings } : {};
  return { type: rope_type, ...original, ...Object.fromEntries(ours) };
}

describe('ropeFrequencies', () => {
  it.each(fixture.cases.map((each) => [each.name, each] as const))('equals transformers: %s', async (_, expected) => {
    const theta = expected.rope.rope_theta as number;
    const config = resolveRopeConfig({ headDim: fixture.headDim, theta, scaling: scalingOf(expected) });
    const { frequencies, attentionFactor } = ropeFrequencies(config, expected.length);
    const ratios = frequencies.map((frequency, i) => frequency / expected.frequencies[i]!);
    await expectClose(ratios, new Array(fixture.headDim / 2).fill(1), CLOSE);
    expect(attentionFactor).toBeCloseTo(expected.attention_factor, 6);
  });
});
