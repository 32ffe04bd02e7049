import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

/** @param {string[]} args the words after the script's name. */
export function readOptions(args) {
  const { values } = parseArgs({
    args,
    options: {
      data: { type: 'string' },
      model: { type: 'string' },
      steps: { type: 'string', default: '60' },
      windows: { type: 'string', default: '16' },
      output: { type: 'string' },
      backend: { type: 'string', default: 'auto' },
    },
  });
  return {
    data: values.data,
    model: values.model,
    steps: count('steps', values.steps),
    windows: count('windows', values.windows),
    backend: values.backend,
    output: values.output ?? mkdtempSync(join(tmpdir(), 'longer-context-')),
  };
}

function count(name, text) {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 2)
    throw new Error(`--${name} must be a whole number of at least 2, got '${text}'.`);
  return value;
}
