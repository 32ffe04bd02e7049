import { createInterface } from 'node:readline/promises';
import { assessMessages, checkReply, resolvePolicy, safetyReply } from '@therapeutic-moe/safety';
import type { ChatMessage } from '@therapeutic-moe/server';
import { defineCommand } from 'citty';
import type { LanguageModel } from '../language-model.js';
import { chatDefaults } from './chat-defaults.js';
import { loadFromOptions, modelOptions } from './model-options.js';
import { readNumber } from './numbers.js';

/** A conversation in the terminal, behind the same safety policy as the server. */
export const chatCommand = defineCommand({
  meta: { name: 'chat', description: 'Talk to a model in the terminal.' },
  args: {
    ...modelOptions,
    temperature: { type: 'string', description: '0 is greedy', default: String(chatDefaults.temperature) },
    seed: { type: 'string', description: 'makes replies repeatable' },
    'max-tokens': { type: 'string', description: 'longest reply', default: String(chatDefaults.maxTokens) },
  },
  async run({ args }) {
    const sampling = {
      ...chatDefaults,
      temperature: readNumber('temperature', args.temperature, { min: 0, max: 2 }),
      maxTokens: readNumber('max-tokens', args['max-tokens'], { min: 1, max: 100_000, whole: true }),
      ...(args.seed === undefined
        ? {}
        : { seed: readNumber('seed', args.seed, { min: 0, max: 2 ** 31 - 1, whole: true }) }),
    };
    const model = await loadFromOptions(args);
    console.log('A demonstration, not care. An empty line or Ctrl+C ends the conversation.\n');
    const terminal = createInterface({ input: process.stdin, output: process.stdout });
    const messages: ChatMessage[] = [];
    try {
      terminal.setPrompt('> ');
      terminal.prompt();
      for await (const line of terminal) {
        if (line.trim() === '') break;
        messages.push({ role: 'user', content: line });
        const reply = await answer(model, messages, sampling);
        console.log(`${reply}\n`);
        messages.push({ role: 'assistant', content: reply });
        terminal.prompt();
      }
    } finally {
      terminal.close();
      model.dispose();
    }
  },
});

async function answer(
  model: LanguageModel,
  messages: ChatMessage[],
  sampling: typeof chatDefaults & { seed?: number },
): Promise<string> {
  const policy = resolvePolicy();
  const assessment = assessMessages(messages, policy);
  const instead = safetyReply(assessment, policy);
  if (instead !== undefined) return instead;
  let reply = '';
  const options = { ...sampling, stop: [] };
  for await (const event of model.chat(messages, options, new AbortController().signal)) {
    if (event.type === 'text') reply += event.text;
  }
  return checkReply(reply, policy).text;
}
