import { get } from 'node:http';
import { setTimeout as wait } from 'node:timers/promises';
import { resolvePolicy } from '@therapeutic-moe/safety';
import { memoryStore, ResponseCache } from '@therapeutic-moe/serve-cache';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type Completion, hello } from '../test/ask.js';
import { type FakeChatModel, fakeChatModel } from '../test/fake-chat-model.js';
import { type CachedReply, closeOnSignals, createApp, type RunningServer, type ServeOptions, serve } from './index.js';

const started: RunningServer[] = [];

afterEach(async () => {
  await Promise.all(started.splice(0).map((running) => running.close()));
});

async function start(model: FakeChatModel, options: ServeOptions = {}): Promise<RunningServer> {
  const cache = new ResponseCache<CachedReply>({ store: memoryStore(), secret: 'a secret for tests only' });
  const app = createApp({ models: [model], policy: resolvePolicy(), cache });
  const running = await serve(app, { port: 0, ...options });
  started.push(running);
  return running;
}

const send = (url: string, body: object, signal?: AbortSignal) =>
  fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ messages: hello, ...body }),
    signal,
  });

/** Asks for `/health` under a Host header of one's own, which fetch does not let one set. */
function getAs(host: string, port: number): Promise<{ status?: number; body: string }> {
  return new Promise((resolve, reject) => {
    get({ host: '127.0.0.1', port, path: '/health', headers: { host } }, async (response) => {
      resolve({ status: response.statusCode, body: (await response.toArray()).join('') });
    }).on('error', reject);
  });
}

describe('serve', () => {
  it('answers at the URL it gives, and caches for the one person on this machine', async () => {
    const { url, port } = await start(fakeChatModel());
    expect(url).toBe(`http://127.0.0.1:${port}`);
    const results = [];
    for (const _ of [1, 2]) {
      results.push(((await (await send(url, { temperature: 0 })).json()) as Completion).tmoe.cache);
    }
    expect(results).toEqual(['miss', 'hit']);
  });

  it('refuses names that another site let point at this machine', async () => {
    const { port } = await start(fakeChatModel());
    const status = async (host: string, to = port) => (await getAs(host, to)).status;
    const refused = await getAs(`rebound.example:${port}`, port);
    expect(refused.status).toBe(403);
    expect(refused.body).toContain('host_not_allowed');
    for (const host of [`localhost:${port}`, `127.0.0.1:${port}`, '[::1]:9000', 'LOCALHOST'])
      expect([host, await status(host)]).toEqual([host, 200]);
    for (const host of ['localhost.rebound.example', '127.0.0.1.rebound.example', 'localhost:80:80'])
      expect([host, await status(host)]).not.toEqual([host, 200]);
    const behindProxy = await start(fakeChatModel(), { allowedHosts: ['chat.example'] });
    expect(await status('chat.example', behindProxy.port)).toBe(200);
    expect(await status('other.example', behindProxy.port)).toBe(403);
    const open = await start(fakeChatModel(), { host: '0.0.0.0' });
    expect(await status('any.example', open.port)).toBe(200);
  });

  it('says what is wrong with an address it cannot listen on', async () => {
    const { port } = await start(fakeChatModel());
    await expect(start(fakeChatModel(), { port })).rejects.toThrow(
      `serve: cannot listen on 127.0.0.1:${port} (another program uses this port; choose another with PORT).`,
    );
  });

  it.each([
    ['a whole reply', { stream: false }],
    ['a stream', { stream: true }],
    ['a stream that could be cached', { stream: true, temperature: 0 }],
  ])('aborts the model when the client of %s goes away', async (_, body) => {
    const model = fakeChatModel({ pieces: Array.from({ length: 50 }, (_, index) => `Part ${index}. `), pauseMs: 10 });
    const { url } = await start(model);
    const controller = new AbortController();
    const request = send(url, body, controller.signal).then((response) => response.text());
    await expect.poll(() => model.calls.length).toBe(1);
    await wait(30);
    controller.abort();
    await expect(request).rejects.toThrow('abort');
    await expect.poll(() => [model.ended, model.aborted]).toEqual([1, 1]);
    const free = (await (await fetch(`${url}/health`)).json()) as { queue: object };
    expect(free.queue).toEqual({ running: 0, waiting: 0 });
  });

  it('lets a running reply finish when it closes, and accepts no new one', async () => {
    const model = fakeChatModel({ pauseMs: 20 });
    const running = await start(model);
    const reply = send(running.url, {}).then((response) => response.json() as Promise<Completion>);
    await expect.poll(() => model.calls.length).toBe(1);
    const closed = running.close();
    await expect(send(running.url, {})).rejects.toThrow('fetch failed');
    expect((await reply).choices[0].finish_reason).toBe('stop');
    await closed;
    expect(running.close()).toBe(closed);
  });

  it('cuts what still runs after the grace', async () => {
    const model = fakeChatModel({ pieces: Array.from({ length: 500 }, () => 'On. '), pauseMs: 10 });
    const running = await start(model, { graceMs: 30 });
    const reply = send(running.url, { stream: true }).then((response) => response.text());
    const cut = expect(reply).rejects.toThrow();
    await expect.poll(() => model.calls.length).toBe(1);
    await running.close();
    await cut;
    await expect.poll(() => model.aborted).toBe(1);
  });

  it('closes on a signal, then runs what comes afterwards and ends the process', async () => {
    const running = await start(fakeChatModel());
    const before = { int: process.listeners('SIGINT'), term: process.listeners('SIGTERM') };
    const exit = vi.spyOn(process, 'exit').mockImplementation((() => {}) as () => never);
    const afterwards = vi.fn();
    try {
      closeOnSignals(running, afterwards);
      const handler = process.listeners('SIGTERM').find((listener) => !before.term.includes(listener));
      handler?.('SIGTERM');
      await expect.poll(() => exit.mock.calls).toEqual([[0]]);
      expect(afterwards).toHaveBeenCalledOnce();
      await expect(fetch(`${running.url}/health`)).rejects.toThrow('fetch failed');
      handler?.('SIGTERM');
      expect(exit).toHaveBeenLastCalledWith(130);
    } finally {
      exit.mockRestore();
      for (const listener of process.listeners('SIGINT'))
        if (!before.int.includes(listener)) process.off('SIGINT', listener);
      for (const listener of process.listeners('SIGTERM'))
        if (!before.term.includes(listener)) process.off('SIGTERM', listener);
    }
  });
});
