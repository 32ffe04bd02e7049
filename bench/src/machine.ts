import { execFileSync } from 'node:child_process';
import { availableParallelism, cpus, platform, release } from 'node:os';

/** What the figures were measured on: processor, cores, Node, system, date and commit. */
export function describeMachine(repository: string): string {
  const model = cpus()[0]?.model.trim() || 'unknown processor';
  const date = new Date().toISOString().slice(0, 10);
  return [
    model,
    `${availableParallelism()} cores`,
    `Node ${process.versions.node}`,
    `${platform()} ${release()}`,
    date,
    commitOf(repository),
  ].join(', ');
}

function commitOf(repository: string): string {
  const git = (...rest: string[]) =>
    execFileSync('git', ['-C', repository, ...rest], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  try {
    const changed = git('status', '--porcelain', '--untracked-files=no') !== '';
    return `commit ${git('rev-parse', '--short', 'HEAD')}${changed ? ' with changes' : ''}`;
  } catch {
    return 'no commit';
  }
}
