// The process of one task: a request comes in, an answer goes out, the process ends.
import type { TaskAnswer, TaskRequest } from './run-task.js';
import { tasks } from './tasks.js';

process.once('message', async ({ task, input }: TaskRequest) => {
  const answer = await run(task, input as never);
  process.send?.(answer, () => process.exit(0));
});

async function run(task: string, input: never): Promise<TaskAnswer> {
  try {
    const work = tasks[task];
    if (!work) throw new Error(`bench: there is no task ${task}.`);
    return { result: await work(input) };
  } catch (thrown) {
    return { error: thrown instanceof Error ? thrown.message : String(thrown) };
  }
}
