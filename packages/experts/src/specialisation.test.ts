import { describe, expect, it } from 'vitest';
import { domainShares, domainTable, expertDomainInformation, expertPurity } from './index.js';

const DOMAINS = ['grief', 'sleep', 'work'];

/** Seven tokens, two choices each, of five experts; nobody chose expert 3. */
const INDICES = [0, 1, 0, 2, 0, 1, 1, 2, 4, 1, 4, 2, 4, 2];
const LABELS = ['grief', 'grief', 'grief', 'sleep', 'work', 'work', 'work'];
const table = () => domainTable(INDICES, LABELS, { experts: 5, domains: DOMAINS });

describe('domainTable', () => {
  it('counts choices expert by domain', () => {
    expect(table()).toEqual({
      domains: DOMAINS,
      counts: [
        [3, 0, 0],
        [2, 1, 1],
        [1, 1, 2],
        [0, 0, 0],
        [0, 0, 3],
      ],
    });
  });

  it('gives each expert its domain shares, and zeros to one that nobody chose', () => {
    expect(domainShares(table())).toEqual([
      [1, 0, 0],
      [0.5, 0.25, 0.25],
      [0.25, 0.25, 0.5],
      [0, 0, 0],
      [0, 0, 1],
    ]);
  });

  it('refuses arrays that do not describe the same tokens, strangers and nothing', () => {
    const options = { experts: 5, domains: DOMAINS };
    expect(() => domainTable([], [], options)).toThrow('domainTable: there are no tokens');
    expect(() => domainTable([0, 1, 2], LABELS.slice(0, 2), options)).toThrow('3 choices do not fit 2 labels');
    expect(() => domainTable([0, 5], ['grief'], options)).toThrow('token 0 chose expert 5, but experts are 0 to 4.');
    expect(() => domainTable([0], ['anger'], options)).toThrow(
      "token 0 is labelled 'anger', which is not one of grief, sleep, work.",
    );
    expect(() => domainTable([0], ['a'], { experts: 1, domains: ['a', 'a'] })).toThrow(
      'a domain is named twice in a, a',
    );
  });
});

describe('expertPurity', () => {
  it('is the share of choices at an expert whose main domain is theirs', () => {
    expect(expertPurity(table())).toBeCloseTo((3 + 2 + 2 + 0 + 3) / 14, 12);
  });

  it('is 1 when every expert has one domain only', () => {
    expect(
      expertPurity(domainTable([0, 1, 2, 2], ['grief', 'sleep', 'work', 'work'], { experts: 3, domains: DOMAINS })),
    ).toBe(1);
  });

  it('refuses a table without counts', () => {
    expect(() => expertPurity({ domains: DOMAINS, counts: [[0, 0, 0]] })).toThrow('expertPurity: the table is empty');
  });
});

describe('expertDomainInformation', () => {
  it('is what the definition by joint probabilities gives', () => {
    const { counts } = table();
    const [rows, columns] = [counts.map((row) => row[0]! + row[1]! + row[2]!), [6, 2, 6]];
    let mutual = 0;
    for (const [e, row] of counts.entries()) {
      for (const [d, count] of row.entries()) {
        if (count > 0) mutual += (count / 14) * Math.log((count * 14) / (rows[e]! * columns[d]!));
      }
    }
    const entropy = (parts: number[]) =>
      -parts.filter((n) => n > 0).reduce((sum, n) => sum + (n / 14) * Math.log(n / 14), 0);
    expect(expertDomainInformation(table())).toBeCloseTo(mutual / ((entropy(rows) + entropy(columns)) / 2), 12);
  });

  it('is 0 when the choice says nothing and 1 when each determines the other', () => {
    const domains = ['a', 'b'];
    expect(
      expertDomainInformation({
        domains,
        counts: [
          [2, 6],
          [3, 9],
        ],
      }),
    ).toBeCloseTo(0, 12);
    expect(
      expertDomainInformation({
        domains,
        counts: [
          [0, 7],
          [5, 0],
          [0, 0],
        ],
      }),
    ).toBeCloseTo(1, 12);
    expect(expertDomainInformation({ domains, counts: [[5, 7]] })).toBe(0);
  });

  it('refuses a table in which nothing can be told apart', () => {
    expect(() =>
      expertDomainInformation({
        domains: ['a', 'b'],
        counts: [
          [5, 0],
          [0, 0],
        ],
      }),
    ).toThrow('all choices are of one domain and went to one expert');
  });
});
