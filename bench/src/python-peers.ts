import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { PeerMissing, type Timing } from './comparison.js';

const execute = promisify(execFile);
const scripts = fileURLToPath(new URL('../peers', import.meta.url));
const modules = ['torch', 'transformers'];
const packages = ['torch==2.13.0', 'transformers', 'peft'];
const wayOut = 'name a Python that has them in TMOE_PEERS_PYTHON';

/** Where Python peers may live. */
export interface PythonPlaces {
  /** `TMOE_PEERS_PYTHON`. */
  readonly named: string | undefined;
  /** The repository, whose `.venv` is used or made. */
  readonly repository: string;
  /** Makes `.venv` when nothing is named and it lacks something; absent where that is forbidden. */
  readonly install?: (repository: string) => Promise<void>;
}

/**
 * Finds a Python that has what the peers import: the one that `TMOE_PEERS_PYTHON` names, else that of the repository's `.venv`, which is
 * made first where that is allowed.
 *
 * @throws PeerMissing saying what is missing and the ways out.
 */
export async function findPython({ named, repository, install }: PythonPlaces): Promise<string> {
  const python = named ?? venvPython(repository);
  let reason = await reasonAgainst(python, named);
  if (reason === undefined) return python;
  if (named === undefined && install) {
    try {
      await install(repository);
    } catch (thrown) {
      throw new PeerMissing(`${reason}, and it could not be made: ${(thrown as Error).message}; ${wayOut}`);
    }
    reason = await reasonAgainst(python, named);
    if (reason === undefined) return python;
  }
  const orElse = named === undefined && !install ? ', or run without --no-install-peers' : '';
  throw new PeerMissing(`${reason}; ${wayOut}${orElse}`);
}

/** Why a Python cannot run the peers, or undefined when it can. */
async function reasonAgainst(python: string, named: string | undefined): Promise<string | undefined> {
  if (!existsSync(python)) {
    return named === undefined
      ? `there is no .venv with ${modules.join(' and ')}`
      : `TMOE_PEERS_PYTHON names ${named}, which does not exist`;
  }
  const missing = await missingModules(python);
  return missing.length > 0 ? `${named ?? '.venv'} has no ${missing.join(' and no ')}` : undefined;
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
 * Makes `.venv` in the repository and installs the peers with pip; the output of both goes to stderr. Nothing is retried.
 *
 * @param minutes after which a step is given up.
 * @throws when python3, its venv module or pip is missing, fails or takes too long.
 */
export async function installPeers(repository: string, minutes = 15): Promise<void> {
  const python = venvPython(repository);
  if (!existsSync(python)) await runQuietly('python3', ['-m', 'venv', join(repository, '.venv')], minutes);
  const flags = ['--quiet', '--disable-pip-version-check', '--retries', '0', '--timeout', '20'];
  await runQuietly(python, ['-m', 'pip', 'install', ...flags, ...packages], minutes);
}

function venvPython(repository: string): string {
  return join(repository, '.venv', 'bin', 'python');
}

function runQuietly(command: string, commandArguments: readonly string[], minutes: number): Promise<void> {
  const shown = [basename(command), ...commandArguments.slice(0, 3)].join(' ');
  const child = spawn(command, commandArguments, { stdio: ['ignore', 2, 2], timeout: minutes * 60_000 });
  return new Promise((resolve, reject) => {
    child.on('error', (cause) => reject(new Error(`bench: ${command} does not start: ${cause.message}`, { cause })));
    child.on('close', (code, signal) => {
      if (code === 0) resolve();
      else if (signal) reject(new Error(`bench: '${shown}' was given up after ${minutes} minutes`));
      else reject(new Error(`bench: '${shown}' failed; its output is on stderr`));
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
