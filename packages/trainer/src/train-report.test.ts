import { describe, expect, it } from 'vitest';
import { renderTrainReport, type StepRecord } from './index.js';

const record = (step: number): StepRecord => ({
  step,
  loss: 5 / step,
  crossEntropy: 4 / step,
  balance: null,
  z: null,
  domain: null,
  learningRate: 0.01,
  gradientNorm: 1,
  tokens: 7,
  tokensPerSecond: 100,
  expertLoad: [0.25, 0.75],
  routingEntropy: 0.6,
  elapsed: step,
  numTensors: 9,
});
const scored = (step: number, set: string, nats: number) => ({
  step,
  set,
  nats,
  perplexity: Math.exp(nats),
  bitsPerByte: nats / 3,
  tokens: 11,
  bytes: 13,
});

describe('renderTrainReport', () => {
  const html = renderTrainReport({
    title: 'Run <7>',
    facts: { seed: '7' },
    steps: Array.from({ length: 250 }, (_, i) => record(i + 1)),
    evaluations: [scored(100, 'sea', 2), scored(100, 'all', 2.5), scored(200, 'sea', 3), scored(200, 'all', 3.5)],
    expertNames: ['sea', 'land'],
  });

  it('draws every curve and fetches nothing', () => {
    expect(html.match(/<svg/g)).toHaveLength(7);
    expect(html).not.toMatch(/<script|src=|href=|url\(|NaN|Infinity/);
  });

  it('shows the scores of the best evaluation', () => {
    expect(html).toContain('Best evaluation: step 100');
    expect(html).toContain('12.18'); // exp(2.5)
    expect(html).not.toContain('33.12'); // exp(3.5)
  });

  it('escapes what it is given', () => {
    expect(html).toContain('Run &lt;7&gt;');
  });

  it('leaves out charts without data', () => {
    const bare = renderTrainReport({
      title: 'Run',
      facts: {},
      steps: [{ ...record(1), expertLoad: null, routingEntropy: null }],
      evaluations: [],
    });
    expect(bare.match(/<h2>[^<]*/g)).toEqual([
      '<h2>Cross-entropy, nats per token',
      '<h2>Learning rate',
      '<h2>Gradient norm before clipping',
      '<h2>Tokens per second',
    ]);
  });
});
