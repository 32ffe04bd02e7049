import { resolvePolicy } from '@therapeutic-moe/safety';
import OpenAI, { APIUserAbortError, AuthenticationError, BadRequestError, NotFoundError, RateLimitError } from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createApp, type RunningServer, serve } from '../src/index.js';
import { type FakeChatModel, fakeChatModel } from './fake-chat-model.js';

const messages = [{ role: 'user' as const, content: 'How do habits form?' }];

describe('the unmodified openai client', () => {
  let running: RunningServer;
  let client: OpenAI;
  let slow: FakeChatModel;

  beforeAll(async () => {
    slow = fakeChatModel({ pieces: Array.from({ length: 50 }, () => 'On. '), pauseMs: 10 }, 'slow');
    const broken = fakeChatModel({ pieces: ['One. ', 'Two. '], failure: new Error('lost') }, 'broken');
    const app = createApp({
      models: [fakeChatModel(), slow, broken],
      policy: resolvePolicy(),
      apiKeys: [{ id: 'test', key: 'test-key' }],
      queue: { maxWaiting: 0 },
    });
    running = await serve(app, { port: 0 });
    client = new OpenAI({ baseURL: `${running.url}/v1`, apiKey: 'test-key', maxRetries: 0 });
  });

  afterAll(() => running.close());

  it('lists and retrieves models', async () => {
    const list = await client.models.list();
    expect(list.data.map(({ id }) => id)).toEqual(['fake', 'slow', 'broken']);
    expect((await client.models.retrieve('fake')).object).toBe('model');
    await expect(client.models.retrieve('gone')).rejects.toBeInstanceOf(NotFoundError);
  });

  it('reads a whole reply', async () => {
    const reply = await client.chat.completions.create({
      model: 'fake',
      messages: [{ role: 'developer', content: [{ type: 'text', text: 'Be kind.' }] }, ...messages],
      max_completion_tokens: 50,
    });
    expect(reply.choices[0].message.content).toBe('It makes sense. Rest helps.');
    expect(reply.usage?.total_tokens).toBe(15);
    expect(reply).toHaveProperty('tmoe.routing.psychology', 0.4);
    expect(reply._request_id).toMatch(/^[\w-]{36}$/);
  });

  it('reads a stream with usage', async () => {
    const stream = await client.chat.completions.create({
      model: 'fake',
      messages,
      stream: true,
      stream_options: { include_usage: true },
    });
    let text = '';
    let total: number | undefined;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? '';
      total = chunk.usage?.total_tokens ?? total;
    }
    expect([text, total]).toEqual(['It makes sense. Rest helps.', 15]);
  });

  it('assembles a stream with its own helper', async () => {
    const runner = client.chat.completions.stream({ model: 'fake', messages });
    expect(await runner.finalContent()).toBe('It makes sense. Rest helps.');
  });

  it('leaves a stream, and the model stops', async () => {
    const stream = await client.chat.completions.create({ model: 'slow', messages, stream: true });
    for await (const chunk of stream) if (chunk.choices[0]?.delta.content) break;
    await expect.poll(() => slow.aborted).toBe(1);
    const controller = new AbortController();
    const request = client.chat.completions.create({ model: 'slow', messages }, { signal: controller.signal });
    await expect.poll(() => slow.calls.length).toBe(2);
    controller.abort();
    await expect(request).rejects.toBeInstanceOf(APIUserAbortError);
    await expect.poll(() => slow.aborted).toBe(2);
  });

  it('throws its own errors with our words', async () => {
    const wrong = client.chat.completions.create({ model: 'fake', messages, temperature: 9 });
    await expect(wrong).rejects.toBeInstanceOf(BadRequestError);
    await expect(wrong).rejects.toMatchObject({
      status: 400,
      param: 'temperature',
      message: expect.stringContaining('got 9'),
    });
    const stranger = new OpenAI({ baseURL: `${running.url}/v1`, apiKey: 'other', maxRetries: 0 });
    await expect(stranger.models.list()).rejects.toBeInstanceOf(AuthenticationError);
  });

  it('throws on an error in the middle of a stream', async () => {
    const stream = await client.chat.completions.create({ model: 'broken', messages, stream: true });
    let text = '';
    const reading = (async () => {
      for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? '';
    })();
    await expect(reading).rejects.toThrow('The server could not answer this request.');
    expect(text).toBe('One. Two. ');
  });

  it('sees a full server as a rate limit', async () => {
    const controller = new AbortController();
    const busy = client.chat.completions.create({ model: 'slow', messages }, { signal: controller.signal });
    await expect.poll(() => slow.calls.length).toBe(3);
    await expect(client.chat.completions.create({ model: 'fake', messages })).rejects.toBeInstanceOf(RateLimitError);
    controller.abort();
    await expect(busy).rejects.toThrow();
  });
});
