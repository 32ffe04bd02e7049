import { parseArgs } from 'node:util';

/** What the command line asks for. */
export interface Options {
  readonly only: string | undefined;
  /** The only backend to measure; all that are present when absent. */
  readonly backend: string | undefined;
  readonly json: boolean;
  readonly list: boolean;
  readonly help: boolean;
  /** Whether `.venv` may be made for the Python peers. */
  readonly installPeers: boolean;
  readonly repeats: number;
  readonly naiveRepeats: number;
}

export const usage = `npm run bench -- [options]

  --only NAME          one comparison instead of all
  --backend NAME       one backend instead of all that are present
  --json               one line of JSON per comparison on stdout (use npm run --silent to have nothing else there)
  --list               the comparisons
  --repeats N          timed repeats of ours and of quick peers (5)
  --naive-repeats N    timed repeats of the naive training step and of naive attention over 8192 tokens, up to a minute each (1)
  --no-install-peers   forbids to make .venv with PyTorch and transformers where no Python has them
  --help               this text

TMOE_PEERS_PYTHON names another Python with torch and transformers. TMOE_TFJS_NODE adds the TensorFlow backend.`;

/** @throws naming the option that is unknown or has an impossible value. */
export function readOptions(commandLine: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...commandLine],
    options: {
      only: { type: 'string' },
      backend: { type: 'string' },
      json: { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
      'no-install-peers': { type: 'boolean', default: false },
      repeats: { type: 'string', default: '5' },
      'naive-repeats': { type: 'string', default: '1' },
    },
  });
  return {
    only: values.only,
    backend: values.backend,
    json: values.json,
    list: values.list,
    help: values.help,
    installPeers: !values['no-install-peers'],
    repeats: wholeNumber('--repeats', values.repeats),
    naiveRepeats: wholeNumber('--naive-repeats', values['naive-repeats']),
  };
}

function wholeNumber(name: string, value: string): number {
  const number = Number(value);
  if (Number.isInteger(number) && number >= 1) return number;
  throw new Error(`bench: ${name} must be a whole number of 1 or more, got ${value}.`);
}
