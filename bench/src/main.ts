import { fileURLToPath } from 'node:url';
import { chooseComparisons, comparisons } from './comparisons.js';
import { createLab } from './lab.js';
import { describeMachine } from './machine.js';
import { type Options, readOptions, usage } from './options.js';
import { installPeers } from './python-peers.js';
import { makeReport, renderTable } from './report.js';
import { runComparison } from './run-comparison.js';

const repository = fileURLToPath(new URL('../..', import.meta.url));

async function main(options: Options): Promise<void> {
  if (options.help) return console.log(usage);
  if (options.list) return console.log(comparisons.map(({ name, about }) => `${name.padEnd(12)} ${about}`).join('\n'));
  const chosen = chooseComparisons(comparisons, options.only);
  const install = options.installPeers ? installAloud : undefined;
  const lab = createLab({ ...options, python: { named: process.env.TMOE_PEERS_PYTHON, repository, install } });
  const machine = describeMachine(repository);
  for (const comparison of chosen) {
    const outcomes = await runComparison(comparison, lab, (line) => console.error(`bench: ${line}`));
    const { name } = comparison;
    console.log(
      options.json ? JSON.stringify(makeReport(name, machine, outcomes)) : renderTable(name, machine, outcomes),
    );
    for (const line of comparison.conclude?.(outcomes) ?? []) console.error(`bench: ${name}: ${line}`);
  }
}

async function installAloud(folder: string): Promise<void> {
  console.error('bench: making .venv with PyTorch and transformers, once; --no-install-peers forbids it');
  await installPeers(folder);
}

try {
  await main(readOptions(process.argv.slice(2)));
} catch (thrown) {
  const { message } = thrown as Error;
  console.error(message.startsWith('bench: ') ? message : `bench: ${message}`);
  process.exitCode = 1;
}
