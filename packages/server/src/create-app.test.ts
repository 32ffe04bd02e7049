import { resolvePolicy } from '@therapeutic-moe/safety';
import { describe, expect, it } from 'vitest';
import { ask, chunksOf, eventsOf, hello, post, refusalOf, textOf } from '../test/ask.js';
import { fakeChatModel, routing } from '../test/fake-chat-model.js';
import { type AppOptions, ContextLengthError, createApp } from './index.js';

const policy = resolvePolicy();

function appWith(options: Partial<AppOptions> = {}) {
  return createApp({ models: [fakeChatModel()], policy, ...options });
}

describe('models', () => {
  it('lists every model and describes one', async () => {
    const app = appWith({ models: [fakeChatModel({}, 'calm'), fakeChatModel({}, 'org/other')] });
    const list = (await (await app.request('/v1/models')).json()) as { object: string; data: { id: string }[] };
    expect(list.object).toBe('list');
    expect(list.data.map(({ id }) => id)).toEqual(['calm', 'org/other']);
    const one = (await (await app.request('/v1/models/org%2Fother')).json()) as object;
    expect(one).toMatchObject({ id: 'org/other', object: 'model', max_model_len: 512 });
  });

  it('says whose weights a model has and whose adapter it is, as vLLM does', async () => {
    const app = appWith({ models: [fakeChatModel({}, 'base'), { ...fakeChatModel({}, 'calm'), parent: 'base' }] });
    const { data } = (await (await app.request('/v1/models')).json()) as { data: object[] };
    expect(data).toMatchObject([
      { id: 'base', root: 'base', parent: null },
      { id: 'calm', root: 'base', parent: 'base' },
    ]);
  });

  it("answers 404 in OpenAI's shape for a model that is not there", async () => {
    const app = appWith();
    const response = await app.request('/v1/models/gone');
    expect(response.status).toBe(404);
    expect(await refusalOf(response)).toMatchObject({
      type: 'not_found_error',
      param: 'model',
      code: 'model_not_found',
    });
    expect((await post(app, { model: 'gone', messages: hello })).status).toBe(404);
  });

  it('refuses an app without models and two models of one name', () => {
    expect(() => appWith({ models: [] })).toThrow('createApp: models must hold at least one ChatModel, got none.');
    expect(() => appWith({ models: [fakeChatModel(), fakeChatModel()] })).toThrow(
      'must have different ids, got fake, fake',
    );
  });
});

describe('a completion', () => {
  it("has OpenAI's body and our one field beside it", async () => {
    const body = await ask(appWith(), { model: 'fake' });
    expect(body).toMatchObject({
      object: 'chat.completion',
      model: 'fake',
      choices: [
        {
          index: 0,
          message: { role: 'assistant', content: 'It makes sense. Rest helps.', refusal: null },
          logprobs: null,
          finish_reason: 'stop',
        },
      ],
      usage: { prompt_tokens: 11, completion_tokens: 4, total_tokens: 15 },
      tmoe: { cache: 'bypass', safety: { action: 'none', crisis: { level: 'none' } }, routing },
    });
    expect(body.id).toMatch(/^chatcmpl-/);
    expect(body.tmoe.latencyMs).toBeGreaterThanOrEqual(0);
    expect(body.tmoe.tokensPerSecond).toBeGreaterThan(0);
  });

  it('says when the reply was cut at the token limit', async () => {
    const body = await ask(appWith({ models: [fakeChatModel({ finishReason: 'length' })] }), {});
    expect(body.choices[0].finish_reason).toBe('length');
  });

  it('hands the model developer turns as system, and arrays of text parts as one text', async () => {
    const model = fakeChatModel();
    await ask(appWith({ models: [model] }), {
      messages: [
        { role: 'developer', content: 'Be kind.' },
        { role: 'assistant', content: null },
        {
          role: 'user',
          content: [
            { type: 'text', text: 'What is ' },
            { type: 'text', text: 'grief?' },
          ],
        },
      ],
    });
    expect(model.calls[0].messages).toEqual([
      { role: 'system', content: 'Be kind.' },
      { role: 'assistant', content: '' },
      { role: 'user', content: 'What is grief?' },
    ]);
  });

  it('fills in the defaults of the app and hands over what was asked for', async () => {
    const model = fakeChatModel();
    const app = appWith({ models: [model], defaults: { temperature: 0.3, topK: 40, maxTokens: 9000 } });
    await ask(app, {});
    await ask(app, {
      temperature: 0,
      top_p: 0.5,
      top_k: 3,
      repetition_penalty: 1.2,
      seed: 5,
      max_tokens: 7,
      stop: 'END',
    });
    await ask(app, { max_completion_tokens: 13, stop: ['a', 'b'] });
    expect(model.calls.map(({ options }) => options)).toEqual([
      {
        temperature: 0.3,
        topP: 0.95,
        topK: 40,
        maxTokens: 512,
        stop: [],
        seed: undefined,
        repetitionPenalty: undefined,
      },
      { temperature: 0, topP: 0.5, topK: 3, repetitionPenalty: 1.2, seed: 5, maxTokens: 7, stop: ['END'] },
      {
        temperature: 0.3,
        topP: 0.95,
        topK: 40,
        maxTokens: 13,
        stop: ['a', 'b'],
        seed: undefined,
        repetitionPenalty: undefined,
      },
    ]);
  });

  it('ignores unknown fields and tools', async () => {
    const tools = [{ type: 'function', function: { name: 'look_up' } }];
    const body = await ask(appWith(), {
      colour: 'green',
      tools,
      tool_choice: 'auto',
      user: 'x',
      logprobs: true,
      metadata: {},
    });
    expect(body.choices[0].finish_reason).toBe('stop');
  });
});

describe('refused requests', () => {
  const refused: [name: string, body: unknown, param: string | null, words: string][] = [
    [
      'no turn of a user',
      {
        messages: [
          { role: 'system', content: 'Be kind.' },
          { role: 'assistant', content: 'Hello.' },
        ],
      },
      'messages',
      'messages: there is no user message; add what the model shall answer.',
    ],
    ['no messages', {}, 'messages', 'messages: must be a non-empty array of messages, got nothing.'],
    [
      'an empty list',
      { messages: [] },
      'messages',
      'messages: must be a non-empty array of messages, got an empty array.',
    ],
    ['an array as body', [], null, 'the body must be a JSON object, got an empty array.'],
    [
      'an unknown role',
      { messages: [{ role: 'robot', content: 'x' }] },
      'messages[0].role',
      'must be "system", "developer", "user" or "assistant", got "robot".',
    ],
    ['a missing content', { messages: [{ role: 'user' }] }, 'messages[0].content', 'it is missing, got nothing.'],
    [
      'a number as content',
      { messages: [{ role: 'user', content: 5 }] },
      'messages[0].content',
      'must be a string or an array of text parts, got 5.',
    ],
    [
      'an image',
      {
        messages: [
          ...hello,
          {
            role: 'user',
            content: [
              { type: 'text', text: 'see' },
              { type: 'image_url', image_url: { url: 'data:' } },
            ],
          },
        ],
      },
      'messages[1].content[1].type',
      'this model reads text only',
    ],
    [
      'a temperature out of range',
      { messages: hello, temperature: 2.5 },
      'temperature',
      'temperature: must be a number from 0 (greedy) to 2, got 2.5.',
    ],
    ['a temperature in words', { messages: hello, temperature: 'hot' }, 'temperature', 'got "hot".'],
    ['top_p of zero', { messages: hello, top_p: 0 }, 'top_p', 'top_p: must be a number above 0 and at most 1, got 0.'],
    ['a broken seed', { messages: hello, seed: 1.5 }, 'seed', 'seed: must be a whole number, got 1.5.'],
    [
      'no tokens at all',
      { messages: hello, max_tokens: 0 },
      'max_tokens',
      'max_tokens: must be a whole number of at least 1, got 0.',
    ],
    [
      'more tokens than fit',
      { messages: hello, max_tokens: 513 },
      'max_tokens',
      'max_tokens: must be at most 512, the context length of this model, got 513.',
    ],
    [
      'two limits that differ',
      { messages: hello, max_tokens: 3, max_completion_tokens: 5 },
      'max_tokens',
      'is 3 but max_completion_tokens is 5; send one of them.',
    ],
    [
      'five stop texts',
      { messages: hello, stop: ['a', 'b', 'c', 'd', 'e'] },
      'stop',
      'at most four of them, got an array of 5.',
    ],
    ['an empty stop text', { messages: hello, stop: '' }, 'stop', 'must be a non-empty string'],
    [
      'a required tool call',
      { messages: hello, tool_choice: 'required' },
      'tool_choice',
      'this model cannot call tools',
    ],
    [
      'a named tool call',
      { messages: hello, tool_choice: { type: 'function', function: { name: 'f' } } },
      'tool_choice',
      'got an object.',
    ],
    ['several replies', { messages: hello, n: 2 }, 'n', 'n: must be 1; ask again for another reply, got 2.'],
    [
      'a stream flag in words',
      { messages: hello, stream: 'yes' },
      'stream',
      'stream: must be true or false, got "yes".',
    ],
  ];

  it.each(refused)('%s', async (_, body, param, words) => {
    const model = fakeChatModel();
    const response = await post(appWith({ models: [model] }), body);
    expect(response.status).toBe(400);
    const error = await refusalOf(response);
    expect(error).toMatchObject({ type: 'invalid_request_error', param });
    expect(error.message).toContain(words);
    expect(model.calls).toHaveLength(0);
  });

  it('malformed JSON, without repeating it', async () => {
    const response = await post(appWith(), '{"messages": [{"role": "user", "content": "private words');
    expect(response.status).toBe(400);
    const error = await refusalOf(response);
    expect(error.code).toBe('invalid_json');
    expect(error.message).not.toContain('private');
  });

  it('a body over the limit, with and without a declared length', async () => {
    const app = appWith({ maxBodyBytes: 100 });
    const response = await post(app, { messages: [{ role: 'user', content: 'x'.repeat(200) }] });
    expect(response.status).toBe(413);
    expect(await refusalOf(response)).toMatchObject({
      code: 'body_too_large',
      message: expect.stringContaining('at most 100 bytes'),
    });
  });

  it('an unknown address and a wrong method', async () => {
    const app = appWith();
    const lost = await app.request('/v1/embeddings', { method: 'POST' });
    expect(lost.status).toBe(404);
    expect((await refusalOf(lost)).type).toBe('not_found_error');
    const wrong = await app.request('/v1/chat/completions');
    expect([wrong.status, wrong.headers.get('allow')]).toEqual([405, 'POST']);
  });

  it("a conversation that does not fit, in the model's words", async () => {
    const response = await post(
      appWith({ models: [fakeChatModel({ pieces: [], failure: new ContextLengthError(600, 512) })] }),
      { messages: hello },
    );
    expect(response.status).toBe(400);
    expect(await refusalOf(response)).toMatchObject({
      code: 'context_length_exceeded',
      message: expect.stringContaining('takes 600 tokens'),
    });
  });

  it('a model that fails: 500 without internals', async () => {
    const failure = new Error('weights at /secret/place while reading "private words"');
    const response = await post(appWith({ models: [fakeChatModel({ failure })] }), { messages: hello });
    expect(response.status).toBe(500);
    expect(await response.text()).not.toMatch(/secret|private/);
  });
});

describe('a stream', () => {
  it('has one id, a role first, finish_reason and tmoe last, then [DONE]', async () => {
    const response = await post(appWith(), { messages: hello, stream: true });
    expect(response.headers.get('content-type')).toContain('text/event-stream');
    const events = await eventsOf(response);
    expect(events.at(-1)).toBe('[DONE]');
    const chunks = events.slice(0, -1).map((data) => JSON.parse(data));
    expect(new Set(chunks.map(({ id, created, model, object }) => `${id} ${created} ${model} ${object}`)).size).toBe(1);
    expect(chunks[0].choices[0].delta).toEqual({ role: 'assistant', content: '' });
    expect(textOf(chunks)).toBe('It makes sense. Rest helps.');
    const last = chunks.at(-1);
    expect(last.choices[0]).toMatchObject({ delta: {}, finish_reason: 'stop' });
    expect(last.tmoe).toMatchObject({ cache: 'bypass', safety: { action: 'none' }, routing });
    expect(
      chunks.slice(0, -1).every((chunk) => chunk.choices[0].finish_reason === null && chunk.tmoe === undefined),
    ).toBe(true);
  });

  it('ends with usage when it is asked for, and only then', async () => {
    const asked = await chunksOf(
      await post(appWith(), { messages: hello, stream: true, stream_options: { include_usage: true } }),
    );
    expect(asked.at(-1)).toMatchObject({
      choices: [],
      usage: { prompt_tokens: 11, completion_tokens: 4, total_tokens: 15 },
    });
    const unasked = await chunksOf(await post(appWith(), { messages: hello, stream: true }));
    expect(unasked.every((chunk) => chunk.usage === undefined && chunk.choices?.length === 1)).toBe(true);
  });

  it('comes sentence by sentence, because every sentence is checked first', async () => {
    const chunks = await chunksOf(await post(appWith(), { messages: hello, stream: true }));
    expect(chunks.map((chunk) => chunk.choices?.[0]?.delta.content).filter(Boolean)).toEqual([
      'It makes sense. ',
      'Rest helps.',
    ]);
  });

  it('refuses with a real status when the model fails before its first words', async () => {
    const response = await post(appWith({ models: [fakeChatModel({ pieces: [], failure: new Error('no') })] }), {
      messages: hello,
      stream: true,
    });
    expect(response.status).toBe(500);
    expect((await refusalOf(response)).type).toBe('server_error');
  });

  it('sends an error event when the model fails on the way, and no [DONE]', async () => {
    const model = fakeChatModel({ pieces: ['One. ', 'Two. '], failure: new Error('lost') });
    const events = await eventsOf(await post(appWith({ models: [model] }), { messages: hello, stream: true }));
    expect(events).not.toContain('[DONE]');
    expect(JSON.parse(events.at(-1) as string).error).toMatchObject({ type: 'server_error', code: 'internal_error' });
  });

  it('stops the model when the reader goes away', async () => {
    const model = fakeChatModel({ pieces: ['One. ', 'Two. ', 'Three. ', 'Four. '], pauseMs: 20 });
    const response = await post(appWith({ models: [model] }), { messages: hello, stream: true });
    const reader = response.body!.getReader();
    await reader.read();
    await reader.cancel();
    expect([model.ended, model.aborted]).toEqual([1, 1]);
  });
});
