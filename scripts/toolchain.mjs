// Where the tools of this repository are, and how to run them. Works on Node 20 and later, before anything is installed.
import { spawn } from 'node:child_process';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('..', import.meta.url)).replace(/[\\/]$/, '');
export const toolsDirectory = join(root, '.tools');
export const pnpm = join(toolsDirectory, 'node_modules', '.bin', 'pnpm');

/** The environment of every tool: Node 22 of the root's node_modules comes first, then pnpm; no telemetry. */
export function toolEnvironment(extra = {}) {
  const bins = [join(root, 'node_modules', '.bin'), join(toolsDirectory, 'node_modules', '.bin')];
  return {
    ...process.env,
    PATH: [...bins, process.env.PATH ?? ''].join(delimiter),
    TURBO_TELEMETRY_DISABLED: '1',
    DO_NOT_TRACK: '1',
    NO_UPDATE_NOTIFIER: '1',
    ...extra,
  };
}

/**
 * Runs a command in the repository root and waits for it.
 *
 * @param options `stdio` as for spawn (default `inherit`); `environment` adds variables; `onLine` gets each line of
 * output instead of the terminal.
 * @returns the exit code and, where it was captured, the output.
 */
export function run(command, commandArguments, { stdio = 'inherit', environment = {}, onLine } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, commandArguments, {
      cwd: root,
      env: toolEnvironment(environment),
      stdio: onLine ? ['ignore', 'pipe', 'pipe'] : stdio,
    });
    let output = '';
    if (onLine) {
      for (const stream of [child.stdout, child.stderr]) {
        let rest = '';
        stream.setEncoding('utf8').on('data', (text) => {
          output += text;
          const lines = (rest + text).split('\n');
          rest = lines.pop() ?? '';
          for (const line of lines) onLine(line);
        });
      }
    }
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code: code ?? 128 + (signal === 'SIGINT' ? 2 : 15), output }));
  });
}

/** Prints one message without a stack and ends the process. */
export function fail(message, code = 1) {
  console.error(message);
  process.exit(code);
}

/** True when the module at `url` was started by `node`, not imported. */
export function isMain(url) {
  return process.argv[1] !== undefined && fileURLToPath(url) === process.argv[1];
}
