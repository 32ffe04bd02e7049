import { createInterface } from 'node:readline/promises';
import { resolvePolicy } from '@therapeutic-moe/safety';
import { type ChatMessage, ContextLengthError } from '@therapeutic-moe/server';
import { defineCommand } from 'citty';
import { answerInSentences } from './answer-in-sentences.js';
import { conversationOptions, loadFromOptions, modelOptions, readKvCache } from './model-options.js';
import { readNumber } from './numbers.js';

/** A conversation in the terminal, behind the same safety policy as the server. */
export const chatCommand = defineCommand({
  meta: { name: 'chat', description: 'Talk to a model in the terminal.' },
  args: {
    ...modelOptions,
    ...conversationOptions,
    temperature: { type: 'string', description: "0 is greedy; default the model's own" },
    seed: { type: 'string', description: 'makes replies repeatable' },
    'max-tokens': { type: 'string', description: "longest reply; default the model's own" },
  },
  async run({ args }) {
    const asked = {
      ...readOption('temperature', args.temperature, { min: 0, max: 2 }),
      ...readOption('maxTokens', args['max-tokens'], { min: 1, max: 100_000, whole: true }),
      ...readOption('seed', args.seed, { min: 0, max: 2 ** 31 - 1, whole: true }),
    };
    const kvCache = readKvCache(args['kv-cache']);
    const policy = resolvePolicy();
    const model = await loadFromOptions(args, { kvCache });
    const sampling = { ...model.defaults, ...asked };
    console.log('A demonstration, not care. An empty line or Ctrl+C ends the conversation.\n');
    const terminal = createInterface({ input: process.stdin, output: process.stdout });
    const stop = new AbortController();
    terminal.on('SIGINT', () => {
      stop.abort();
      terminal.close();
    });
    const messages: ChatMessage[] = [];
    try {
      terminal.setPrompt('> ');
      terminal.prompt();
      for await (const line of terminal) {
        if (line.trim() === '') break;
        const turns: ChatMessage[] = [...messages, { role: 'user', content: line }];
        try {
          const content = await print(answerInSentences(model, turns, { ...sampling, stop: [] }, policy, stop.signal));
          messages.splice(0, messages.length, ...turns, { role: 'assistant', content });
        } catch (error) {
          if (stop.signal.aborted) break;
          if (!(error instanceof ContextLengthError)) throw error;
          console.log(`${error.message}\n`); // the message is left out, the conversation goes on
        }
        terminal.prompt();
      }
    } finally {
      terminal.close();
      model.dispose();
    }
  },
});

/** An option under its sampling name; nothing when it was not given. */
function readOption(name: string, text: string | undefined, range: Parameters<typeof readNumber>[2]) {
  const option = name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  return text === undefined ? {} : { [name]: readNumber(option, text, range) };
}

/** Prints a reply as it comes and an empty line after it; returns what the generator returned. */
async function print(reply: AsyncGenerator<string, string>): Promise<string> {
  let next = await reply.next();
  for (; !next.done; next = await reply.next()) process.stdout.write(next.value);
  process.stdout.write('\n\n');
  return next.value;
}
