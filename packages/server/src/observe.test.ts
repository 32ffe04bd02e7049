import { resolvePolicy } from '@therapeutic-moe/safety';
import { describe, expect, it } from 'vitest';
import { ask, post } from '../test/ask.js';
import { fakeChatModel } from '../test/fake-chat-model.js';
import { type AppOptions, createApp } from './index.js';

const secretWords = 'zebra-umbrella';
const messages = [{ role: 'user', content: `My ${secretWords} is broken.` }];

function watched(options: Partial<AppOptions> = {}) {
  const lines: Record<string, unknown>[] = [];
  const keep = (fields: Record<string, unknown>, message: string) => void lines.push({ ...fields, message });
  const app = createApp({
    models: [fakeChatModel()],
    policy: resolvePolicy(),
    logger: { info: keep, error: keep },
    ...options,
  });
  return { app, lines, metrics: async () => (await app.request('/metrics')).text() };
}

describe('logs and metrics', () => {
  it('count requests by route pattern, tokens, cache results, safety actions and shares', async () => {
    const { app, metrics } = watched();
    await ask(app, { messages });
    await app.request('/v1/models/fake');
    const text = await metrics();
    for (const line of [
      'tmoe_http_requests_total{route="/v1/chat/completions",method="POST",status="200"} 1',
      'tmoe_http_requests_total{route="/v1/models/:id{.+}",method="GET",status="200"} 1',
      'tmoe_tokens_total{model="fake",kind="completion"} 4',
      'tmoe_cache_replies_total{result="bypass"} 1',
      'tmoe_safety_replies_total{action="none"} 1',
      'tmoe_expert_share_total{model="fake",expert="psychology"} 0.4',
      'tmoe_queue_running 0',
    ]) {
      expect(text).toContain(line);
    }
  });

  it("are each app's own", async () => {
    const first = watched();
    await ask(first.app, { messages });
    expect(await watched().metrics()).not.toContain('tmoe_tokens_total{');
  });

  it('say one line per request, at the end of a stream too', async () => {
    const { app, lines } = watched();
    const response = await post(app, { messages, stream: true });
    expect(lines).toHaveLength(0);
    await response.text();
    await expect.poll(() => lines).toHaveLength(1);
    expect(lines[0]).toMatchObject({
      message: 'request',
      route: '/v1/chat/completions',
      status: 200,
      model: 'fake',
      cache: 'bypass',
      safety: 'none',
      completionTokens: 4,
      requestId: response.headers.get('x-request-id'),
    });
  });

  it('never hold what a person or a model wrote, not even in failures', async () => {
    const failure = new Error(`cannot read ${secretWords}`, { cause: new TypeError(`bad ${secretWords}`) });
    const models = [
      fakeChatModel({ pieces: [`${secretWords}. `] }),
      fakeChatModel({ pieces: ['One. '], failure }, 'broken'),
    ];
    const { app, lines, metrics } = watched({ models });
    await ask(app, { messages });
    await post(app, { messages, model: 'broken' });
    await (await post(app, { messages, model: 'broken', stream: true })).text();
    await post(app, { messages, model: secretWords });
    await post(app, `{"messages": "${secretWords}`);
    await app.request(`/${secretWords}`);
    await app.request(`/v1/models/${secretWords}?q=${secretWords}`);
    await app.request(`/assets/${secretWords}.js`);
    expect(JSON.stringify(lines)).not.toContain(secretWords);
    expect(await metrics()).not.toContain(secretWords);
    expect(lines.filter(({ failure: name }) => name === 'TypeError')).toHaveLength(2);
  });
});

describe('health', () => {
  it('says what is served and how busy it is', async () => {
    expect(await (await watched().app.request('/health')).json()).toEqual({
      status: 'ok',
      models: ['fake'],
      queue: { running: 0, waiting: 0 },
    });
  });
});
