import { readFileSync } from 'node:fs';
import { type ArgsDef, type CommandDef, defineCommand, runCommand, showUsage } from 'citty';
import { chatCommand } from './commands/chat.js';
import { evalCommand } from './commands/eval.js';
import { exportCommand } from './commands/export.js';
import { inspectCommand } from './commands/inspect.js';
import { linkTensorflowCommand } from './commands/link-tensorflow.js';
import { logitsCommand } from './commands/logits.js';
import { pullCommand } from './commands/pull.js';
import { routeCommand } from './commands/route.js';
import { serveCommand } from './commands/serve.js';
import { trainCommand } from './commands/train-command.js';
import { type KnownOption, refuseUnknownOptions } from './refuse-unknown-options.js';

const commands = {
  serve: serveCommand,
  chat: chatCommand,
  train: trainCommand,
  eval: evalCommand,
  route: routeCommand,
  logits: logitsCommand,
  inspect: inspectCommand,
  export: exportCommand,
  pull: pullCommand,
  'link-tensorflow': linkTensorflowCommand,
};

const main = defineCommand({
  meta: {
    name: 'therapeutic-moe',
    description: 'A therapeutic Mixture-of-Experts model: serve, chat, train, evaluate.',
  },
  subCommands: commands as unknown as Record<string, CommandDef<ArgsDef>>,
});

/**
 * Runs `therapeutic-moe` with the words after its name.
 *
 * @returns the exit code: 0, 1 when the command failed, 2 when there is no such command.
 */
export async function runCommandLine(words: readonly string[]): Promise<number> {
  const [name, ...rest] = words;
  if (name === '--version' && rest.length === 0) {
    console.log(packageVersion());
    return 0;
  }
  if (name === undefined || name === '--help' || name === '-h') {
    await showUsage(main);
    return 0;
  }
  if (!Object.hasOwn(commands, name)) {
    await showUsage(main);
    console.error(`therapeutic-moe: there is no command '${name}'; choose one of ${Object.keys(commands).join(', ')}.`);
    return 2;
  }
  const command = commands[name as keyof typeof commands] as unknown as CommandDef<ArgsDef>;
  try {
    if (rest.includes('--help') || rest.includes('-h')) await showUsage(command, main);
    else {
      refuseUnknownOptions(name, rest, (command.args ?? {}) as Record<string, KnownOption>);
      await runCommand(command, { rawArgs: rest });
    }
    return 0;
  } catch (error) {
    console.error(`therapeutic-moe ${name}: ${error instanceof Error ? error.message : String(error)}`);
    if (process.env.TMOE_DEBUG) console.error(error);
    return 1;
  }
}

/** The version in the package's own `package.json`, seen from `dist/` and from `src/`. */
function packageVersion(): string {
  return (JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }).version;
}
