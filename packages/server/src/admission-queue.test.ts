import { resolvePolicy } from '@therapeutic-moe/safety';
import { describe, expect, it } from 'vitest';
import { ask, hello, post, refusalOf } from '../test/ask.js';
import { fakeChatModel } from '../test/fake-chat-model.js';
import { AdmissionQueue } from './admission-queue.js';
import { createApp } from './index.js';

const forever = new AbortController().signal;

describe('AdmissionQueue', () => {
  it('admits in order of arrival, never more than its concurrency', async () => {
    const queue = new AdmissionQueue({ concurrency: 2, maxWaiting: 5 });
    const order: string[] = [];
    const enter = async (name: string) => {
      const leave = await queue.enter(forever);
      order.push(name);
      return leave;
    };
    const [leaveA, leaveB] = await Promise.all([enter('a'), enter('b')]);
    const c = enter('c');
    const d = enter('d');
    expect([queue.running, queue.waiting]).toEqual([2, 2]);
    leaveB();
    leaveB(); // leaving twice frees one place
    (await c)();
    (await d)();
    leaveA();
    expect(order).toEqual(['a', 'b', 'c', 'd']);
    expect([queue.running, queue.waiting]).toEqual([0, 0]);
  });

  it('lets a waiting request leave the line', async () => {
    const queue = new AdmissionQueue({ maxWaiting: 1 });
    const leave = await queue.enter(forever);
    const controller = new AbortController();
    const waiting = queue.enter(controller.signal);
    controller.abort(new Error('gone'));
    await expect(waiting).rejects.toThrow('gone');
    expect(queue.waiting).toBe(0);
    leave();
    (await queue.enter(forever))();
    expect(queue.running).toBe(0);
  });

  it('refuses impossible limits', () => {
    expect(() => new AdmissionQueue({ concurrency: 0 })).toThrow(
      'concurrency must be a whole number of at least 1, got 0.',
    );
    expect(() => new AdmissionQueue({ maxWaiting: -1 })).toThrow(
      'maxWaiting must be a whole number of at least 0, got -1.',
    );
  });
});

describe('the queue in front of the models', () => {
  it('makes one reply at a time', async () => {
    const model = fakeChatModel({ pauseMs: 2 });
    const app = createApp({ models: [model], policy: resolvePolicy() });
    await Promise.all([ask(app, {}), ask(app, {}), ask(app, {})]);
    expect([model.calls.length, model.mostAtOnce]).toEqual([3, 1]);
  });

  it('answers 429 with Retry-After when the line is full, and recovers', async () => {
    let release = () => {};
    const model = fakeChatModel({
      hold: new Promise((resolve) => {
        release = resolve;
      }),
    });
    const app = createApp({ models: [model], policy: resolvePolicy(), queue: { maxWaiting: 1 } });
    const taken = [ask(app, {}), ask(app, {})];
    await expect.poll(async () => (await app.request('/health')).text()).toContain('{"running":1,"waiting":1}');
    const response = await post(app, { messages: hello, stream: true });
    expect(response.status).toBe(429);
    expect(Number(response.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
    expect(await refusalOf(response)).toMatchObject({ type: 'rate_limit_error', code: 'queue_full' });
    release();
    await Promise.all(taken);
    expect((await ask(app, {})).choices[0].finish_reason).toBe('stop');
  });

  it('gives the place back after a failure', async () => {
    const model = fakeChatModel({ failure: new Error('no') });
    const app = createApp({ models: [model], policy: resolvePolicy(), queue: { maxWaiting: 0 } });
    for (const _ of [1, 2]) expect((await post(app, { messages: hello })).status).toBe(500);
  });
});
