/** How often each expert was chosen by tokens of each domain. */
export interface DomainTable {
  readonly domains: readonly string[];
  /** `[experts][domains]` choices. */
  readonly counts: readonly (readonly number[])[];
}

/**
 * Counts the choices of labelled tokens, expert by domain.
 *
 * @param indices chosen experts `[tokens, k]` row by row.
 * @param labels one domain per token.
 * @param domains the columns, in this order.
 * @throws when there are no tokens, the arrays do not describe the same ones, or an index or a label is unknown.
 */
export function domainTable(
  indices: ArrayLike<number>,
  labels: readonly string[],
  { experts, domains }: { readonly experts: number; readonly domains: readonly string[] },
): DomainTable {
  const k = indices.length / labels.length;
  if (labels.length === 0) throw new Error('domainTable: there are no tokens; a table of nothing says nothing.');
  if (!Number.isInteger(k) || k < 1) {
    throw new Error(`domainTable: ${indices.length} choices do not fit ${labels.length} labels; give one per token.`);
  }
  const columns = new Map(domains.map((domain, column) => [domain, column]));
  if (columns.size < domains.length) throw new Error(`domainTable: a domain is named twice in ${domains.join(', ')}.`);
  const counts = Array.from({ length: experts }, () => new Array<number>(domains.length).fill(0));
  for (const [token, label] of labels.entries()) {
    const column = columns.get(label);
    if (column === undefined) {
      throw new Error(`domainTable: token ${token} is labelled '${label}', which is not one of ${domains.join(', ')}.`);
    }
    for (let choice = token * k; choice < (token + 1) * k; choice++) {
      const row = counts[indices[choice]!];
      if (!row) {
        throw new Error(
          `domainTable: token ${token} chose expert ${indices[choice]}, but experts are 0 to ${experts - 1}.`,
        );
      }
      row[column]!++;
    }
  }
  return { domains, counts };
}

/**
 * What each expert works on: the share of each domain among its choices, `[experts][domains]`. Rows sum to 1; an expert
 * that nobody chose has zeros.
 */
export function domainShares({ counts }: DomainTable): number[][] {
  return counts.map((row) => {
    const total = sum(row);
    return row.map((count) => (total === 0 ? 0 : count / total));
  });
}

/**
 * Purity (Manning et al., Introduction to Information Retrieval, 16.3): the share of choices that went to an expert
 * whose most frequent domain is theirs. 1 when every expert has one domain only; at least the largest domain's share, so
 * compare it with that. It grows with the number of experts.
 */
export function expertPurity(table: DomainTable): number {
  const total = totalOf('expertPurity', table);
  return sum(table.counts.map((row) => Math.max(...row))) / total;
}

/**
 * Normalised mutual information between chosen expert and domain: `2 I(E; D) / (H(E) + H(D))`. 0 when the choice says
 * nothing about the domain, 1 when each determines the other. Unlike purity it does not grow by itself with the number
 * of experts that share a domain.
 *
 * @throws when one expert and one domain hold all choices: then nothing is left to tell apart.
 */
export function expertDomainInformation(table: DomainTable): number {
  const total = totalOf('expertDomainInformation', table);
  const ofExperts = entropy(table.counts.map(sum), total);
  const ofDomains = entropy(
    table.domains.map((_, column) => sum(table.counts.map((row) => row[column]!))),
    total,
  );
  if (ofExperts + ofDomains === 0) {
    throw new Error(
      'expertDomainInformation: all choices are of one domain and went to one expert; measure on tokens of several domains.',
    );
  }
  const mutual = ofExperts + ofDomains - entropy(table.counts.flat(), total);
  return (2 * Math.max(0, mutual)) / (ofExperts + ofDomains); // rounding may go below 0
}

function totalOf(where: string, { counts }: DomainTable): number {
  const total = sum(counts.flat());
  if (total === 0) throw new Error(`${where}: the table is empty; count choices with domainTable first.`);
  return total;
}

function entropy(counts: readonly number[], total: number): number {
  return -sum(counts.map((count) => (count === 0 ? 0 : (count / total) * Math.log(count / total))));
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
