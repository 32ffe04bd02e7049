import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

/**
 * The options of an example, from the words after its name.
 *
 * @param {string} name of the example, for the folder it writes to.
 * @param {string[]} args
 */
export function readOptions(name, args) {
  const { values } = parseArgs({
    args,
    options: {
      data: { type: 'string' },
      steps: { type: 'string', default: '200' },
      output: { type: 'string' },
      backend: { type: 'string', default: 'auto' },
    },
  });
  const steps = Number(values.steps);
  if (!Number.isInteger(steps) || steps < 2)
    throw new Error(`--steps must be a whole number of at least 2, got '${values.steps}'.`);
  return {
    data: values.data,
    steps,
    backend: values.backend,
    output: values.output ?? mkdtempSync(join(tmpdir(), `${name}-`)),
  };
}
