import { resolvePolicy } from '@therapeutic-moe/safety';
import { type ChatModel, createApp } from '@therapeutic-moe/server';
import { afterEach, expect, it, vi } from 'vitest';
import { requestLog } from './request-log.js';
import { openServerWarning, readApiKeys } from './serve-access.js';

afterEach(() => vi.restoreAllMocks());

it('reads keys between commas and refuses empty ones', () => {
  expect(readApiKeys(undefined)).toEqual([]);
  expect(readApiKeys('one, two')).toEqual([
    { id: 'key-1', key: 'one' },
    { id: 'key-2', key: 'two' },
  ]);
  expect(() => readApiKeys('one,,two')).toThrow('a key between the commas is empty');
});

it('warns of an address that others reach without a key', () => {
  expect(openServerWarning('0.0.0.0', [])).toContain('everyone who reaches 0.0.0.0');
  for (const host of ['127.0.0.1', 'localhost', '::1']) expect(openServerWarning(host, [])).toBeUndefined();
  expect(openServerWarning('0.0.0.0', readApiKeys('one'))).toBeUndefined();
});

it('logs one line per request where asked, failures always, and words never', async () => {
  const model: ChatModel = {
    id: 'broken',
    contextLength: 512,
    chat() {
      throw new TypeError('cannot read zebra');
    },
  };
  const lines = vi.spyOn(console, 'error').mockImplementation(() => {});
  const body = JSON.stringify({ messages: [{ role: 'user', content: 'zebra' }] });
  for (const requests of [true, false]) {
    const app = createApp({ models: [model], policy: resolvePolicy(), logger: requestLog({ requests }) });
    await app.request('/health?q=zebra');
    await app.request('/v1/chat/completions', { method: 'POST', body });
  }
  const said = lines.mock.calls.map(([line]) => String(line));
  expect(said).toHaveLength(4);
  expect(said[0]).toMatch(/^GET \/health 200 \d+ ms$/);
  expect(said[1]).toMatch(/^request failed: TypeError .*\(x-request-id [\w-]{36}\)$/);
  expect(said[2]).toMatch(/^POST \/v1\/chat\/completions 500 \d+ ms$/);
  expect(said[3]).toMatch(/^request failed: TypeError/);
  expect(said.join()).not.toContain('zebra');
});
