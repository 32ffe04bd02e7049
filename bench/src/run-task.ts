import { fork } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** What a task process is asked. */
export interface TaskRequest {
  readonly task: string;
  readonly input: object;
}

/** What it answers. */
export type TaskAnswer = { readonly result: unknown } | { readonly error: string };

/**
 * Runs one of the tasks of `tasks.ts` in a fresh Node process, so that kernels which one contender replaces are never
 * another's. What the task prints goes to our stderr.
 *
 * @throws with the task's own message, or the way its process ended.
 */
export function runTask<T>(task: string, input: object): Promise<T> {
  const file = fileURLToPath(new URL('./task-process.js', import.meta.url));
  if (!existsSync(file)) throw new Error(`bench: ${file} is missing; build the bench package first.`);
  const child = fork(file, { stdio: ['ignore', 2, 2, 'ipc'], env: { ...process.env, TF_CPP_MIN_LOG_LEVEL: '2' } });
  return new Promise((resolve, reject) => {
    let answer: TaskAnswer | undefined;
    child.on('message', (message) => {
      answer = message as TaskAnswer;
    });
    child.on('error', reject);
    child.on('close', (code, signal) => {
      if (!answer) reject(new Error(`bench: the process of ${task} ended with ${signal ?? `exit code ${code}`}.`));
      else if ('error' in answer) reject(new Error(answer.error));
      else resolve(answer.result as T);
    });
    child.send({ task, input } satisfies TaskRequest);
  });
}
