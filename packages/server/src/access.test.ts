import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { resolvePolicy } from '@therapeutic-moe/safety';
import { describe, expect, it } from 'vitest';
import { hello, post, refusalOf } from '../test/ask.js';
import { fakeChatModel } from '../test/fake-chat-model.js';
import { type AppOptions, createApp } from './index.js';

const appWith = (options: Partial<AppOptions> = {}) =>
  createApp({ models: [fakeChatModel()], policy: resolvePolicy(), ...options });
const apiKeys = [{ id: 'ann', key: 'right-key' }];

describe('API keys', () => {
  it('are asked for on every route of the API, and nowhere else', async () => {
    const app = appWith({ apiKeys });
    for (const path of ['/v1/models', '/v1/models/fake', '/v1/chat/completions', '/v1/unknown']) {
      const response = await app.request(path);
      expect([path, response.status]).toEqual([path, 401]);
      expect(response.headers.get('www-authenticate')).toBe('Bearer');
    }
    expect((await app.request('/health')).status).toBe(200);
  });

  it('let a known key pass and refuse others without repeating them', async () => {
    const app = appWith({ apiKeys });
    const send = (authorization: string) => post(app, { messages: hello }, { headers: { authorization } });
    expect((await send('Bearer right-key')).status).toBe(200);
    for (const wrong of ['Bearer right-kez', 'Bearer right-key2', 'Basic right-key', 'Bearer']) {
      const response = await send(wrong);
      expect([wrong, response.status]).toEqual([wrong, 401]);
      const error = await refusalOf(response);
      expect(error.type).toBe('authentication_error');
      expect(error.message).not.toContain('right-ke');
    }
  });

  it('must be whole and different', () => {
    expect(() => appWith({ apiKeys: [{ id: 'a', key: '' }] })).toThrow('id and key must not be empty');
    expect(() => appWith({ apiKeys: [...apiKeys, ...apiKeys] })).toThrow('every id and every key must be there once');
  });
});

describe('pages of other origins', () => {
  const from = (origin: string, host = 'api.example') => ({ headers: { origin, host } });

  it('of this machine may call by default, others are refused before the model runs', async () => {
    const model = fakeChatModel();
    const app = appWith({ models: [model] });
    const near = await post(app, { messages: hello }, from('http://localhost:5173'));
    expect(near.headers.get('access-control-allow-origin')).toBe('http://localhost:5173');
    expect(near.headers.get('access-control-expose-headers')).toContain('x-request-id');
    const far = await post(app, { messages: hello }, from('https://elsewhere.example'));
    expect(far.status).toBe(403);
    expect((await refusalOf(far)).code).toBe('origin_not_allowed');
    expect(far.headers.get('access-control-allow-origin')).toBeNull();
    expect(model.calls).toHaveLength(1);
  });

  it('may be named, or all be allowed; the own page always may', async () => {
    const app = appWith({ corsOrigins: ['https://app.example'] });
    expect((await post(app, { messages: hello }, from('https://app.example'))).status).toBe(200);
    expect((await post(app, { messages: hello }, from('http://localhost:5173'))).status).toBe(403);
    expect((await post(app, { messages: hello }, from('https://api.example'))).status).toBe(200);
    expect((await post(appWith({ corsOrigins: ['*'] }), { messages: hello }, from('https://any.example'))).status).toBe(
      200,
    );
  });

  it('get a preflight answer without a key', async () => {
    const app = appWith({ apiKeys, corsOrigins: ['https://app.example'] });
    const response = await app.request('/v1/chat/completions', {
      method: 'OPTIONS',
      headers: {
        origin: 'https://app.example',
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'authorization,content-type',
      },
    });
    expect(response.status).toBe(204);
    expect(response.headers.get('access-control-allow-headers')).toContain('authorization');
  });

  it('read errors too, because refusals carry the same headers', async () => {
    const response = await post(appWith(), '{', from('http://localhost:5173'));
    expect(response.status).toBe(400);
    expect(response.headers.get('access-control-allow-origin')).toBe('http://localhost:5173');
  });
});

describe('every response', () => {
  it('carries strict headers and a request id, its own or a plain one that came', async () => {
    const app = appWith();
    for (const path of ['/', '/health', '/v1/models', '/nowhere']) {
      const { headers } = await app.request(path);
      expect(headers.get('content-security-policy')).toMatch(/default-src 'none'; script-src 'self'/);
      expect(headers.get('x-content-type-options')).toBe('nosniff');
      expect(headers.get('x-request-id')).toMatch(/^[\w-]{36}$/);
    }
    const sent = (id: string) => app.request('/health', { headers: { 'x-request-id': id } });
    expect((await sent('abc-7')).headers.get('x-request-id')).toBe('abc-7');
    expect((await sent('two words')).headers.get('x-request-id')).not.toBe('two words');
    expect((await post(app, { messages: hello, stream: true })).headers.get('x-request-id')).toMatch(/^[\w-]{36}$/);
  });
});

describe('the chat page', () => {
  it('is served from its folder with the right types, and nothing outside it is', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'page-'));
    try {
      await mkdir(join(folder, 'web', 'assets'), { recursive: true });
      await writeFile(join(folder, 'private.js'), 'secret');
      await writeFile(join(folder, 'web', 'index.html'), '<!doctype html>page');
      await writeFile(join(folder, 'web', 'icon.svg'), '<svg/>');
      await writeFile(join(folder, 'web', 'assets', 'index-1.js'), 'run()');
      const app = appWith({ webDirectory: join(folder, 'web') });
      const page = await app.request('/');
      expect([page.status, await page.text()]).toEqual([200, '<!doctype html>page']);
      expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8');
      expect(page.headers.get('cache-control')).toBe('no-cache');
      const script = await app.request('/assets/index-1.js');
      expect(script.headers.get('content-type')).toBe('text/javascript; charset=utf-8');
      expect(script.headers.get('cache-control')).toContain('immutable');
      expect((await app.request('/icon.svg')).headers.get('content-type')).toBe('image/svg+xml');
      for (const path of [
        '/assets/..%2f..%2fprivate.js',
        '/assets/%2e%2e/private.js',
        '/private.js',
        '/assets/none.js',
      ]) {
        expect([path, (await app.request(path)).status]).toEqual([path, 404]);
      }
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('says plainly how to build it where it is missing', async () => {
    const response = await appWith({ webDirectory: join(tmpdir(), 'no-such-page') }).request('/');
    expect(response.status).toBe(503);
    expect(await response.text()).toContain('The chat page has not been built.');
  });
});
