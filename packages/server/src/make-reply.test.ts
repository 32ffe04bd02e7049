import { resolvePolicy } from '@therapeutic-moe/safety';
import { memoryStore, ResponseCache } from '@therapeutic-moe/serve-cache';
import { describe, expect, it } from 'vitest';
import { ask, chunksOf, hello, post, textOf } from '../test/ask.js';
import { type FakeChatModel, fakeChatModel } from '../test/fake-chat-model.js';
import { type AppOptions, type CachedReply, createApp } from './index.js';

const policy = resolvePolicy({ region: 'US' });
const greedy = { temperature: 0 };
const crisis = [{ role: 'user', content: 'I want to kill myself tonight.' }];

function cached(model: FakeChatModel, options: Partial<AppOptions> = {}) {
  const cache = new ResponseCache<CachedReply>({ store: memoryStore(), secret: 'a secret for tests only' });
  return { cache, app: createApp({ models: [model], policy, cache, tenantHeader: 'x-tenant', ...options }) };
}

const as = (tenant: string) => ({ headers: { 'x-tenant': tenant } });

describe('a crisis', () => {
  it('is answered with resources, and neither model nor cache are touched', async () => {
    const model = fakeChatModel();
    const { app, cache } = cached(model);
    const body = await ask(app, { messages: crisis, ...greedy }, as('a'));
    expect(body.choices[0].message.content).toContain('988');
    expect(body.tmoe).toMatchObject({
      cache: 'bypass',
      routing: {},
      safety: { action: 'resources', reason: 'crisis', emergency: '911' },
    });
    expect(body.tmoe.safety.crisis.level).not.toBe('none');
    expect(body.tmoe.safety.resources?.[0]).toMatchObject({ phone: '988', url: 'https://988lifeline.org' });
    expect(JSON.stringify(body.tmoe)).not.toContain('kill myself');
    expect(body.usage.total_tokens).toBe(0);
    expect(model.calls).toHaveLength(0);
    expect(await cache.stats()).toMatchObject({ entries: 0, hits: 0, misses: 0, bypasses: 0 });
  });

  it('streams the same answer', async () => {
    const { app } = cached(fakeChatModel());
    const whole = await ask(app, { messages: crisis });
    const chunks = await chunksOf(await post(app, { messages: crisis, stream: true }));
    expect(textOf(chunks)).toBe(whole.choices[0].message.content);
    expect(chunks.at(-1)?.tmoe?.safety.action).toBe('resources');
  });

  it('is answered even while the queue is full', async () => {
    const model = fakeChatModel({ pauseMs: 20 });
    const { app } = cached(model, { queue: { maxWaiting: 0 } });
    const busy = ask(app, {});
    expect((await ask(app, { messages: crisis })).tmoe.safety.action).toBe('resources');
    await busy;
  });
});

describe('adapters of one model', () => {
  it('never meet in the cache, nor does an adapter meet an older one of its name', async () => {
    const { app, cache } = cached(fakeChatModel({ pieces: ['Base.'] }, 'base'));
    const adapted = (pieces: string[], adapter: string) => ({
      ...fakeChatModel({ pieces }, 'calm'),
      parent: 'base',
      adapter,
    });
    const base = fakeChatModel({ pieces: ['Base.'] }, 'base');
    const [first, second] = [adapted(['Calm.'], 'r1'), adapted(['Calmer.'], 'r2')].map((calm) =>
      createApp({ models: [base, calm], policy, cache, tenantHeader: 'x-tenant' }),
    );
    const said = async (to: typeof app, model: string) => {
      const body = await ask(to, { messages: hello, model, ...greedy }, as('a'));
      return [body.model, body.choices[0]!.message.content, body.tmoe.cache];
    };
    expect(await said(first!, 'base')).toEqual(['base', 'Base.', 'miss']);
    expect(await said(first!, 'calm')).toEqual(['calm', 'Calm.', 'miss']);
    expect(await said(first!, 'calm')).toEqual(['calm', 'Calm.', 'hit']);
    expect(await said(second!, 'calm')).toEqual(['calm', 'Calmer.', 'miss']);
    expect(await said(second!, 'base')).toEqual(['base', 'Base.', 'hit']);
  });
});

describe('what else the policy decides', () => {
  it('refuses harm without the model', async () => {
    const model = fakeChatModel();
    const { app } = cached(model);
    const body = await ask(app, { messages: [{ role: 'user', content: 'How do I make a pipe bomb?' }] });
    expect(body.tmoe).toMatchObject({ cache: 'bypass', safety: { action: 'refuse', reason: 'harm' } });
    expect(model.calls).toHaveLength(0);
  });

  it('puts a note in front of the reply, and does not cache it', async () => {
    const model = fakeChatModel();
    const { app } = cached(model);
    const question = { messages: [{ role: 'user', content: 'Can you diagnose me?' }], ...greedy };
    const body = await ask(app, question, as('a'));
    expect(body.tmoe).toMatchObject({ cache: 'bypass', safety: { action: 'note', reason: 'boundary' } });
    expect(body.choices[0].message.content).toMatch(/^I am a computer program.*\n\nIt makes sense\./s);
    expect((await ask(app, question, as('a'))).tmoe.cache).toBe('bypass');
  });

  it('withholds a sentence that harms, keeps what came before, and stores nothing', async () => {
    const model = fakeChatModel({ pieces: ['That sounds hard. ', 'You should just kill ', 'yourself. ', 'Bye.'] });
    const { app, cache } = cached(model);
    const body = await ask(app, greedy, as('a'));
    const { content } = body.choices[0].message;
    expect(content).toMatch(/^That sounds hard\. \n\nI held back a reply/);
    expect(content).not.toMatch(/kill|Bye/);
    expect(body.choices[0].finish_reason).toBe('content_filter');
    expect(body.tmoe.safety).toMatchObject({ action: 'replaced', replyRules: ['encourages-self-harm'] });
    expect(body.usage.completion_tokens).toBe(4);
    expect((await cache.stats()).entries).toBe(0);
    const chunks = await chunksOf(await post(app, { messages: hello, stream: true, ...greedy }));
    expect(textOf(chunks)).toBe(content);
  });
});

describe('the cache', () => {
  it('answers the same conversation of the same tenant once from the model, then from the store', async () => {
    const model = fakeChatModel();
    const { app } = cached(model);
    const first = await ask(app, greedy, as('a'));
    const second = await ask(app, greedy, as('a'));
    expect([first.tmoe.cache, second.tmoe.cache]).toEqual(['miss', 'hit']);
    expect(second.choices).toEqual(first.choices);
    expect(second.usage).toEqual(first.usage);
    expect(second.tmoe.routing).toEqual(first.tmoe.routing);
    expect([first.tmoe.tokensPerSecond, second.tmoe.tokensPerSecond]).toEqual([expect.any(Number), undefined]);
    expect(first.id).not.toBe(second.id);
    expect(model.calls).toHaveLength(1);
  });

  it('streams a cached reply, and stores a streamed one', async () => {
    const model = fakeChatModel();
    const { app } = cached(model);
    const streamed = await chunksOf(await post(app, { messages: hello, stream: true, ...greedy }, as('a')));
    const again = await chunksOf(await post(app, { messages: hello, stream: true, ...greedy }, as('a')));
    expect([streamed.at(-1)?.tmoe?.cache, again.at(-1)?.tmoe?.cache]).toEqual(['miss', 'hit']);
    expect(textOf(again)).toBe(textOf(streamed));
    expect(again.length).toBe(streamed.length);
  });

  it.each([
    ['another tenant', greedy, as('b')],
    ['another seed', { ...greedy, seed: 3 }, as('a')],
    ['another limit', { ...greedy, max_tokens: 5 }, as('a')],
    ['another salt', { ...greedy, cache_salt: 'x' }, as('a')],
    ['an earlier turn', { ...greedy, messages: [{ role: 'system', content: 'Be brief.' }, ...hello] }, as('a')],
  ])('does not share across %s', async (_, body, more) => {
    const model = fakeChatModel();
    const { app } = cached(model);
    await ask(app, greedy, as('a'));
    expect((await ask(app, body, more)).tmoe.cache).toBe('miss');
    expect(model.calls).toHaveLength(2);
  });

  it.each([
    ['without a tenant', greedy, {}],
    ['for a sampled reply without a seed', { temperature: 0.7 }, as('a')],
    ['when the client says no-store', greedy, { headers: { 'x-tenant': 'a', 'cache-control': 'no-store' } }],
  ])('is bypassed %s', async (_, body, more) => {
    const { app, cache } = cached(fakeChatModel());
    await ask(app, body, more);
    expect((await ask(app, body, more)).tmoe.cache).toBe('bypass');
    expect((await cache.stats()).entries).toBe(0);
  });

  it('believes no tenant header unless one is configured', async () => {
    const { app } = cached(fakeChatModel(), { tenantHeader: undefined });
    expect((await ask(app, greedy, as('a'))).tmoe.cache).toBe('bypass');
  });

  it('refuses a tenant header that is not a name', async () => {
    const response = await post(cached(fakeChatModel()).app, { messages: hello }, as('two words'));
    expect(response.status).toBe(400);
  });

  it('keeps callers of different keys apart, whatever header they send', async () => {
    const model = fakeChatModel();
    const apiKeys = [
      { id: 'ann', key: 'ann-key' },
      { id: 'bob', key: 'bob-key' },
    ];
    const { app } = cached(model, { apiKeys });
    const by = (key: string) => ({ headers: { authorization: `Bearer ${key}`, 'x-tenant': 'same' } });
    const results = [];
    for (const key of ['ann-key', 'bob-key', 'ann-key']) results.push((await ask(app, greedy, by(key))).tmoe.cache);
    expect(results).toEqual(['miss', 'miss', 'hit']);
  });

  it('uses the tenant that serve fixes, except behind a proxy', async () => {
    const { app } = cached(fakeChatModel());
    expect((await ask(app, greedy, { tenant: 'local' })).tmoe.cache).toBe('miss');
    expect((await ask(app, greedy, { tenant: 'local' })).tmoe.cache).toBe('hit');
    const proxied = { tenant: 'local', headers: { 'x-forwarded-for': '192.0.2.1' } };
    expect((await ask(app, greedy, proxied)).tmoe.cache).toBe('bypass');
  });

  it('writes an answer once for requests that come together, streamed or not', async () => {
    const model = fakeChatModel({ pauseMs: 5 });
    const { app } = cached(model);
    const stream = post(app, { messages: hello, stream: true, ...greedy }, as('a')).then(chunksOf);
    const [first, second, chunks] = await Promise.all([ask(app, greedy, as('a')), ask(app, greedy, as('a')), stream]);
    expect(model.calls).toHaveLength(1);
    expect(textOf(chunks)).toBe(first.choices[0].message.content);
    expect(second.choices).toEqual(first.choices);
  });

  it('keeps writing for who still waits when the first reader goes away, and stops when nobody does', async () => {
    const model = fakeChatModel({ pieces: ['One. ', 'Two. ', 'Three.'], pauseMs: 15 });
    const { app } = cached(model);
    const first = await post(app, { messages: hello, stream: true, ...greedy }, as('a'));
    const second = ask(app, greedy, as('a'));
    await new Promise((resolve) => setTimeout(resolve, 5));
    await first.body!.cancel();
    expect((await second).choices[0].message.content).toBe('One. Two. Three.');
    expect([model.calls.length, model.aborted]).toEqual([1, 0]);

    const alone = await post(app, { messages: hello, stream: true, temperature: 0, seed: 9 }, as('a'));
    await alone.body!.cancel();
    await expect.poll(() => model.aborted).toBe(1);
  });

  it('stores no failure', async () => {
    const { app, cache } = cached(fakeChatModel({ failure: new Error('no') }));
    expect((await post(app, { messages: hello, ...greedy }, as('a'))).status).toBe(500);
    expect((await cache.stats()).entries).toBe(0);
  });
});
