import type { Lab, Timing } from './comparison.js';
import { findPython, type PythonPlaces, runPythonPeer } from './python-peers.js';
import { runTask } from './run-task.js';

/** The lab of a real run: every measurement in a process of its own. What is looked for is looked for once. */
export function createLab(settings: {
  readonly repeats: number;
  readonly naiveRepeats: number;
  readonly backend: string | undefined;
  readonly python: PythonPlaces;
}): Lab {
  const { repeats, naiveRepeats, backend } = settings;
  let backends: Promise<readonly string[]> | undefined;
  let python: Promise<string> | undefined;
  return {
    repeats,
    naiveRepeats,
    backends() {
      backends ??= runTask<readonly string[]>('present-backends', { only: backend });
      return backends;
    },
    node: (task, input) => runTask<Timing>(task, input),
    async python(script, input) {
      python ??= findPython(settings.python);
      return runPythonPeer(await python, script, input);
    },
  };
}
