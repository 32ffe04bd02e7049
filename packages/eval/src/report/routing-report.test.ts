import { describe, expect, it } from 'vitest';
import type { RoutingReport } from '../routing-report.js';
import { renderRoutingReport } from './render-routing-report.js';

/** A report over `experts` experts, in which expert 1 of layer 1 is dead. */
function report(experts: number, rows = 3): RoutingReport {
  const even = Array.from({ length: experts }, () => 1 / experts);
  const names = Array.from({ length: experts }, (_, e) => `expert <${e}>`);
  const layer = { load: even, deadExperts: [], meanTokenEntropy: 0.123, entropyOfMean: 0.456, meanTopKEntropy: 0.078 };
  return {
    title: 'Routing <b>',
    facts: { input: 'a & b', rows },
    experts: names,
    numExpertsPerTok: 2,
    domains: [
      { name: 'x', tokens: 1234 },
      { name: 'y', tokens: 7 },
    ],
    layers: [
      { ...layer, loadByDomain: [even, even.map((_, e) => (e === 0 ? 1 : 0))] },
      { ...layer, deadExperts: [1], loadByDomain: [even, even] },
    ],
    overTime: Array.from({ length: rows }, (_, i) => ({ tokens: i + 1, shares: even })),
    passages: [
      {
        title: 'row 1',
        tokens: [
          {
            text: 'a<i>',
            visits: [
              [
                { expert: 0, weight: 0.25 },
                { expert: 2, weight: 0.75 },
              ],
              [
                { expert: 1, weight: 0.5 },
                { expert: 0, weight: 0.5 },
              ],
            ],
          },
        ],
      },
    ],
  };
}

describe('renderRoutingReport', () => {
  it('is one page that loads nothing, runs nothing and follows the colour scheme', () => {
    const html = renderRoutingReport(report(3));
    expect(html).not.toMatch(/<script|https?:|src=|@import|url\(/);
    expect(html).toContain('color-scheme:light dark');
    expect(html).toContain('Routing &#60;b&#62;');
    expect(html).not.toContain('expert <0>');
    expect(html).not.toContain('a<i>');
  });

  it('shows every layer with its three entropies and its dead experts', () => {
    const html = renderRoutingReport(report(3));
    for (const text of ['mean token entropy', 'entropy of the mean', 'mean top-k entropy', '0.123', '0.456', '0.078'])
      expect(html).toContain(text);
    expect(html).toContain('of at most 1.099'); // ln 3
    expect(html).toContain('of at most 0.693'); // ln 2
    expect(html).toContain('<b>1</b> <span class="hint">expert &#60;1&#62;</span>');
  });

  it('calls layers by their numbers in the model, where some of it have no experts', () => {
    const html = renderRoutingReport({ ...report(3), layerNumbers: [2, 5] });
    for (const text of [
      '<th scope="row">layer 5</th>',
      'Layer 2: share of choices',
      '>layer 5</label>',
      'layer 5: expert',
    ])
      expect(html).toContain(text);
    expect(html).not.toMatch(/layer [013]/i);
  });

  it('draws domain by expert for every layer, with a title in words on each cell', () => {
    const html = renderRoutingReport(report(3));
    expect(html.match(/share of choices<\/figcaption>/g)).toHaveLength(2);
    expect(html).toContain('title="y, expert &#60;0&#62;: 100.0 %">100.0 %');
    expect(html).toContain('1,234 tokens');
  });

  it('colours tokens by the expert that counts most, one colour per layer, and tells it in words', () => {
    const html = renderRoutingReport(report(3));
    expect(html).toContain('--l0:var(--e2);--w0:60%;--l1:var(--e1);--w1:30%');
    expect(html).toContain('title="layer 0: expert &#60;0&#62; 0.25, expert &#60;2&#62; 0.75');
    expect(html).toContain('Layer 0: expert &#60;2&#62; 1 of 1 tokens.');
    expect(html).toContain('<input type="radio" name="layer" id="layer-1">');
  });

  it('draws lines over time for few experts, and a strip each for many', () => {
    expect(renderRoutingReport(report(3))).toContain('<polyline');
    const many = renderRoutingReport(report(31));
    expect(many).not.toContain('<polyline');
    expect(many).toContain('class="strip"');
  });

  it('averages a long input into stretches, by tokens', () => {
    const long = report(2, 96);
    const overTime = long.overTime.map((row, i) => ({ ...row, shares: i % 2 === 0 ? [1, 0] : [0, 1] }));
    const html = renderRoutingReport({ ...long, overTime });
    expect(html).toContain('96 rows in 48 stretches');
    expect(html.match(/<polyline class="s0" points="([^"]+)"/)?.[1]?.split(' ')).toHaveLength(48);
  });

  it('leaves the passages out where there are none', () => {
    expect(renderRoutingReport({ ...report(3), passages: [] })).not.toContain('Tokens by expert');
  });
});
