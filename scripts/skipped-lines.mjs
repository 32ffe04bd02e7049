// The closing list of npm test: skipped suites by reason and backend, so that one missing backend is one line.

const onBackend = /^(.*) on (\w+) \(skipped: (.*)\)$/s;

/**
 * @param {{ file: string, name: string }[]} suites skipped suites and tests, each with the file it stands in.
 * @returns {string[]} one line per reason for the suites that a backend has, `57 suites on tensorflow: attention: Attention, …`, each with its
 * names by package once; then one line per other suite.
 */
export function skippedLines(suites) {
  const reasons = new Map();
  const others = [];
  for (const { file, name } of suites) {
    const [, suite, backend, reason] = onBackend.exec(name) ?? [];
    if (suite === undefined) {
      others.push(`${file}: ${name}`);
      continue;
    }
    const group = reasons.get(reason) ?? { counts: new Map(), names: new Map() };
    reasons.set(reason, group);
    group.counts.set(backend, (group.counts.get(backend) ?? 0) + 1);
    const place = file.replace(/^packages\//, '').split('/')[0];
    group.names.set(place, (group.names.get(place) ?? new Set()).add(suite));
  }
  const lines = [...reasons].map(([reason, { counts, names }]) => {
    const counted = [...counts].map(
      ([backend, count], index) => `${count}${index > 0 ? '' : count === 1 ? ' suite' : ' suites'} on ${backend}`,
    );
    const named = [...names].map(([place, suites]) => `${place}: ${[...suites].join(', ')}`);
    return `${reason}: ${counted.join(', ')}: ${named.join('; ')}`;
  });
  return [...lines, ...others];
}
