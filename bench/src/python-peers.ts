import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { PeerMissing, type Timing } from './comparison.js';

const execute = promisify(execFile);
const scripts = fileURLToPath(new URL('../peers', import.meta.url));
const modules = ['torch', 'transformers'];
const packages = ['torch==2.13.0', 'transformers'];

/** Where Python peers may live. */
export interface PythonPlaces {
  /** `TMOE_PEERS_PYTHON`. */
  readonly named: string | undefined;
  /** The repository, whose `.venv` is used or made. */
  readonly repository: string;
}

/**
 * Finds a Python that has what the peers import: the one that `TMOE_PEERS_PYTHON` names, else that of the repository's `.venv`.
 *
 * @throws PeerMissing saying what is missing and the ways out.
 */
export async function findPython({ named, repository }: PythonPlaces): Promise<string> {
  const python = named ?? venvPython(repository);
  const wayOut = 'give --install-peers, or name a Python that has them in TMOE_PEERS_PYTHON';
  if (!existsSync(python)) {
    throw new PeerMissing(
      named === undefined
        ? `there is no .venv with ${modules.join(' and ')}; ${wayOut}`
        : `TMOE_PEERS_PYTHON names ${named}, which does not exist`,
    );
  }
  const missing = await missingModules(python);
  if (missing.length > 0) {
    throw new PeerMissing(`${named ?? '.venv'} has no ${missing.join(' and no ')}; ${wayOut}`);
  }
  return python;
}

async function missingModules(python: string): Promise<string[]> {
  const code = `import importlib.util as u, sys; print(*[n for n in sys.argv[1:] if u.find_spec(n) is None])`;
  try {
    const { stdout } = await execute(python, ['-c', code, ...modules]);
    return stdout.split(/\s+/).filter(Boolean);
  } catch (thrown) {
    throw new PeerMissing(`${python} does not run: ${(thrown as Error).message.trim()}`);
  }
}

/**
 * Makes `.venv` in the repository and installs the peers with pip; its output goes to stderr.
 *
 * @throws when python3, its venv module or pip fails.
 */
export async function installPeers(repository: string): Promise<void> {
  const folder = join(repository, '.venv');
  if (!existsSync(venvPython(repository))) await runAloud('python3', ['-m', 'venv', folder]);
  await runAloud(venvPython(repository), ['-m', 'pip', 'install', '--retries', '0', ...packages]);
}

function venvPython(repository: string): string {
  return join(repository, '.venv', 'bin', 'python');
}

function runAloud(command: string, commandArguments: readonly string[]): Promise<void> {
  const child = spawn(command, commandArguments, { stdio: ['ignore', 2, 2] });
  return new Promise((resolve, reject) => {
    child.on('error', (cause) => reject(new Error(`bench: ${command} does not start: ${cause.message}`, { cause })));
    child.on('close', (code) => {
      if (code === 0) resolve();
      else reject(new Error(`bench: \`${[command, ...commandArguments].join(' ')}\` failed; its output stands above.`));
    });
  });
}

/**
 * Runs a script of `bench/peers` with its settings as one JSON argument; its last line is the answer, a Timing or `{"missing": why}`.
 *
 * @throws PeerMissing when the script says that something is missing. @throws Error with the end of its stderr when it fails.
 */
export async function runPythonPeer(python: string, script: string, input: object): Promise<Timing> {
  const answer = JSON.parse(await lastLine(python, join(scripts, `${script}.py`), JSON.stringify(input)));
  if ('missing' in answer) throw new PeerMissing(answer.missing);
  return answer;
}

async function lastLine(python: string, file: string, input: string): Promise<string> {
  const environment = { ...process.env, PYTHONWARNINGS: 'ignore', PYTHONDONTWRITEBYTECODE: '1', HF_HUB_OFFLINE: '1' };
  try {
    const { stdout } = await execute(python, [file, input], { env: environment, maxBuffer: 1 << 24 });
    return stdout.trim().split('\n').at(-1) ?? '';
  } catch (thrown) {
    const { stderr, message } = thrown as Error & { stderr?: string };
    throw new Error(stderr?.trim().split('\n').at(-1) || message, { cause: thrown });
  }
}
