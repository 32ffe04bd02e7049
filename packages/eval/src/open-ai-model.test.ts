import { describe, expect, it, vi } from 'vitest';
import { openAiModel } from './open-ai-model.js';

const messages = [{ role: 'user', content: 'Hello' }] as const;
const answering = (body: unknown, status = 200) =>
  vi.fn<typeof globalThis.fetch>(
    async () => new Response(typeof body === 'string' ? body : JSON.stringify(body), { status }),
  );
const base = { baseUrl: 'http://127.0.0.1:8787/v1/', model: 'demo' };

describe('openAiModel', () => {
  it('asks chat/completions and reads text, finish reason and body', async () => {
    const body = { choices: [{ message: { content: 'Hi.' }, finish_reason: 'stop' }], tmoe: { cache: 'miss' } };
    const fetch = answering(body);
    const reply = await openAiModel({ ...base, apiKey: 'key', maxTokens: 5, seed: 3, fetch })(messages);
    expect(reply).toEqual({ text: 'Hi.', finishReason: 'stop', body });
    const [url, init] = fetch.mock.calls[0] ?? [];
    expect(url).toBe('http://127.0.0.1:8787/v1/chat/completions');
    expect(init?.headers).toMatchObject({ authorization: 'Bearer key' });
    expect(JSON.parse(String(init?.body))).toEqual({ model: 'demo', messages, temperature: 0, max_tokens: 5, seed: 3 });
  });

  it('sends no authorization without a key', async () => {
    const fetch = answering({ choices: [{ message: { content: '' } }] });
    expect(await openAiModel({ ...base, fetch })(messages)).toMatchObject({ text: '' });
    expect(fetch.mock.calls[0]?.[1]?.headers).not.toHaveProperty('authorization');
  });

  it("passes the server's error on, without the key", async () => {
    const model = openAiModel({
      ...base,
      apiKey: 'hush-hush',
      fetch: answering({ error: { message: 'no such model' } }, 404),
    });
    const error = await model(messages).catch((reason: Error) => reason);
    expect(String(error)).toContain('answered 404: no such model');
    expect(String(error)).not.toContain('hush-hush');
  });

  it('refuses bodies that are not completions', async () => {
    await expect(openAiModel({ ...base, fetch: answering('<html>') })(messages)).rejects.toThrow(
      'answered without choices[0].message.content',
    );
    await expect(openAiModel({ ...base, fetch: answering('busy', 503) })(messages)).rejects.toThrow(
      'answered 503: no error message',
    );
  });

  it('says what could not be reached, and lets an abort through as it is', async () => {
    const failing = vi.fn<typeof globalThis.fetch>(async () => Promise.reject(new TypeError('fetch failed')));
    await expect(openAiModel({ ...base, fetch: failing })(messages)).rejects.toThrow(
      '/v1/chat/completions could not be reached: fetch failed',
    );
    await expect(
      openAiModel({ ...base, fetch: failing })(messages, AbortSignal.abort(new Error('enough'))),
    ).rejects.toThrow('enough');
  });

  it('refuses a base URL that is none', () => {
    expect(() => openAiModel({ ...base, baseUrl: 'localhost:8787' })).toThrow(
      'openAiModel: baseUrl must be an http or https URL such as http://127.0.0.1:8787/v1, got "localhost:8787".',
    );
  });
});
