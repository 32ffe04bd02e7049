import { randomBytes } from 'node:crypto';
import { resolvePolicy } from '@therapeutic-moe/safety';
import { memoryStore, ResponseCache } from '@therapeutic-moe/serve-cache';
import { type CachedReply, closeOnSignals, createApp, serve } from '@therapeutic-moe/server';
import { defineCommand } from 'citty';
import { conversationOptions, loadFromOptions, modelOptions, readAdapters, readKvCache } from './model-options.js';
import { readNumber } from './numbers.js';
import { requestLog } from './request-log.js';
import { openServerWarning, readApiKeys } from './serve-access.js';

/** Serves a model over HTTP, with the chat page at `/`. */
export const serveCommand = defineCommand({
  meta: { name: 'serve', description: 'Serve a model: OpenAI-compatible API and a chat page.' },
  args: {
    ...modelOptions,
    adapter: {
      type: 'string',
      description: 'PEFT adapter folder, merged in; or NAME=DIR, any number of times: each is served as a model NAME',
      valueHint: 'DIR',
      repeated: true,
    },
    ...conversationOptions,
    'kept-sessions': {
      type: 'string',
      description:
        'conversations of each model name whose keys and values stay in memory for their next turn; 0 keeps none',
      default: '1',
    },
    host: { type: 'string', description: 'address to listen on', default: process.env.HOST || '127.0.0.1' },
    port: { type: 'string', description: 'port to listen on', default: process.env.PORT || '8787' },
    region: { type: 'string', description: 'whose crisis resources are shown first' },
    'api-key': {
      type: 'string',
      description: 'asks callers for a key; several between commas, or in the environment as TMOE_API_KEY',
      valueHint: 'KEY',
    },
    'allowed-hosts': {
      type: 'string',
      description: 'host names it answers under besides this machine, between commas',
      valueHint: 'NAMES',
    },
    log: { type: 'boolean', description: 'print one line per request on standard error: method, route, status, time' },
    'cache-megabytes': { type: 'string', description: 'size of the response cache', default: '64' },
  },
  async run({ args, rawArgs }) {
    const port = readNumber('port', args.port, { min: 0, max: 65_535, whole: true });
    const megabytes = readNumber('cache-megabytes', args['cache-megabytes'], { min: 1, max: 65_536 });
    const keptSessions = readNumber('kept-sessions', args['kept-sessions'], { min: 0, max: 65_536, whole: true });
    const kvCache = readKvCache(args['kv-cache']);
    const policy = resolvePolicy(args.region ? { region: args.region as never } : {});
    const apiKeys = readApiKeys(args['api-key'] ?? (process.env.TMOE_API_KEY || undefined));
    const { model: directory, backend, precision } = args;
    const model = await loadFromOptions(
      { model: directory, backend, precision, ...readAdapters(rawArgs) },
      { keptSessions, kvCache },
    );
    const cache = new ResponseCache<CachedReply>({
      store: memoryStore({ maxBytes: megabytes * 2 ** 20 }),
      secret: randomBytes(32), // a new key each start: nothing outlives the process anyway
    });
    const app = createApp({
      models: [model, ...model.adapters.values()],
      cache,
      policy,
      apiKeys,
      defaults: model.defaults,
      logger: requestLog({ requests: args.log === true }),
    });
    const warning = openServerWarning(args.host, apiKeys);
    if (warning) console.error(warning);
    const allowedHosts = args['allowed-hosts']?.split(',').map((name) => name.trim());
    const running = await serve(app, { host: args.host, port, allowedHosts });
    closeOnSignals(running, () => model.dispose());
    const also = model.adapters.size > 0 ? `, its adapters as ${[...model.adapters.keys()].join(', ')}` : '';
    console.log(`therapeutic-moe: ${model.id} answers at ${running.url}${also}`);
  },
});
