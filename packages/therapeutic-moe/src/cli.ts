import { defineCommand, runCommand, showUsage } from 'citty';
import { chatCommand } from './commands/chat.js';
import { evalCommand } from './commands/eval.js';
import { inspectCommand } from './commands/inspect.js';
import { linkTensorflowCommand } from './commands/link-tensorflow.js';
import { logitsCommand } from './commands/logits.js';
import { serveCommand } from './commands/serve.js';
import { trainCommand } from './commands/train-command.js';
import { refuseUnknownOptions } from './refuse-unknown-options.js';

const commands = {
  serve: serveCommand,
  chat: chatCommand,
  train: trainCommand,
  eval: evalCommand,
  logits: logitsCommand,
  inspect: inspectCommand,
  'link-tensorflow': linkTensorflowCommand,
};

const main = defineCommand({
  meta: {
    name: 'therapeutic-moe',
    description: 'A therapeutic Mixture-of-Experts model: serve, chat, train, evaluate.',
  },
  subCommands: commands,
});

const [name, ...rest] = process.argv.slice(2);
try {
  const command = Object.hasOwn(commands, name ?? '') ? commands[name as keyof typeof commands] : undefined;
  if (!command) {
    await showUsage(main);
    const asked = name === undefined || name === '--help' || name === '-h';
    if (!asked)
      console.error(
        `therapeutic-moe: there is no command '${name}'; choose one of ${Object.keys(commands).join(', ')}.`,
      );
    process.exitCode = asked ? 0 : 2;
  } else if (rest.includes('--help') || rest.includes('-h')) {
    await showUsage(command as never, main as never);
  } else {
    refuseUnknownOptions(name!, rest, command.args ?? {});
    await runCommand(command as never, { rawArgs: rest });
  }
} catch (error) {
  console.error(`therapeutic-moe ${name}: ${error instanceof Error ? error.message : String(error)}`);
  if (process.env.TMOE_DEBUG) console.error(error);
  process.exitCode = 1;
}
