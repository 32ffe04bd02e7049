import { rm } from 'node:fs/promises';
import { resolvePolicy } from '@therapeutic-moe/safety';
import { memoryStore, ResponseCache } from '@therapeutic-moe/serve-cache';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type CachedReply, createApp, type RunningServer, serve } from '../src/index.js';
import { buildPage } from './build-page.js';
import { chromiumPath, launchChromium } from './chromium.js';
import { type FakeChatModel, fakeChatModel } from './fake-chat-model.js';

const name =
  chromiumPath === undefined ? 'the chat page in Chromium (skipped: no Chromium found)' : 'the chat page in Chromium';

describe.skipIf(chromiumPath === undefined)(name, () => {
  let folder: string;
  let browser: Browser;
  let context: BrowserContext;
  let page: Page;
  let model: FakeChatModel;
  let running: RunningServer;
  let faults: string[];

  beforeAll(async () => {
    [folder, browser] = await Promise.all([buildPage(), launchChromium()]);
  });

  afterAll(async () => {
    await browser?.close();
    if (folder !== undefined) await rm(folder, { recursive: true });
  });

  async function open(chatModel: FakeChatModel, apiKeys?: { id: string; key: string }[]): Promise<void> {
    model = chatModel;
    const cache = new ResponseCache<CachedReply>({ store: memoryStore(), secret: 'a secret for tests only' });
    const app = createApp({
      models: [model],
      policy: resolvePolicy({ region: 'US' }),
      cache,
      webDirectory: folder,
      apiKeys,
    });
    running = await serve(app, { port: 0 });
    await page.goto(running.url);
  }

  beforeEach(async () => {
    context = await browser.newContext();
    page = await context.newPage();
    page.setDefaultTimeout(5000);
    faults = [];
    page.on('pageerror', (error) => faults.push(error.message));
    page.on('console', (message) => message.type() === 'error' && faults.push(message.text()));
    page.on('request', (request) => {
      if (!request.url().startsWith(running.url)) faults.push(`asked ${request.url()}`);
    });
  });

  afterEach(async () => {
    await context.close();
    await running.close();
  });

  const say = async (text: string) => {
    await page.getByLabel('Message').fill(text);
    await page.keyboard.press('Enter');
  };
  const reply = (index = 0) => page.getByRole('article', { name: 'Reply' }).nth(index);

  it('streams a reply and shows shares, cache, time, speed and safety under it', async () => {
    await open(fakeChatModel({ pieces: ['Habits form ', 'by repetition. ', 'Small steps ', 'help.'], pauseMs: 30 }));
    expect(await page.getByText('A demonstration, not care.').isVisible()).toBe(true);
    expect(await page.getByRole('link', { name: /find a helpline/i }).getAttribute('href')).toBe(
      'https://findahelpline.com',
    );
    await say('How do habits form?');
    await page.getByText('Habits form by repetition.').waitFor();
    await reply().getByText('cache miss').waitFor();
    const text = await reply().textContent();
    expect(text).toContain('Habits form by repetition. Small steps help.');
    expect(text).toMatch(
      /Psychology\s+40 %\s*Mental health\s+30 %\s*Bias detection\s+10 %\s*General therapeutic\s+20 %/,
    );
    expect(text).toMatch(/\d+ ms|\d\.\d s/);
    expect(text).toMatch(/4 tokens\s*\d+\.\d tokens\/s/);
    expect(text).toContain('safety: no action');
    const bar = reply().getByRole('img', { name: /shares of this reply: Psychology 40 %, Mental health 30 %/ });
    const widths = await bar
      .locator('span')
      .evaluateAll((parts) => parts.map((part) => part.getBoundingClientRect().width));
    expect(widths[0] / widths[2]).toBeGreaterThan(3);
    expect(faults).toEqual([]);
  });

  it('shows a hit for the same first question in a new conversation', async () => {
    await open(fakeChatModel());
    await say('How do habits form?');
    await reply().getByText('cache miss').waitFor();
    await page.getByRole('button', { name: 'New conversation' }).click();
    expect(await page.getByRole('article').count()).toBe(0);
    await say('How do habits form?');
    await reply().getByText('cache hit').waitFor();
    expect(model.calls).toHaveLength(1);
  });

  it('sends the whole conversation, and leaves out what no longer fits', async () => {
    await open(fakeChatModel({ room: 3 }));
    await say('First question');
    await reply().getByText('cache miss').waitFor();
    await say('Second question');
    await reply(1).getByText('cache miss').waitFor();
    expect(model.calls[1].messages.map(({ content }) => content)).toEqual([
      'First question',
      'It makes sense. Rest helps.',
      'Second question',
    ]);
    await say('Third question');
    await reply(2).getByText('cache miss').waitFor();
    expect(model.calls[3].messages.map(({ content }) => content)).toEqual([
      'Second question',
      'It makes sense. Rest helps.',
      'Third question',
    ]);
    expect(await reply(2).getByText('were left out of this turn').isVisible()).toBe(true);
  });

  it('shows resources as links and numbers in a crisis, without the model', async () => {
    await open(fakeChatModel());
    await say('I want to kill myself tonight.');
    const card = page.getByRole('complementary', { name: 'People you can reach now' });
    await card.waitFor();
    expect(await card.getByRole('link', { name: '988', exact: true }).getAttribute('href')).toBe('tel:988');
    expect(await card.getByRole('link', { name: '988lifeline.org' }).getAttribute('href')).toBe(
      'https://988lifeline.org',
    );
    expect(await reply().textContent()).toContain('cache bypass');
    expect(await reply().getByText('988 Suicide & Crisis Lifeline').count()).toBe(1);
    expect(model.calls).toHaveLength(0);
  });

  it('stops a reply by button and by Escape', async () => {
    await open(fakeChatModel({ pieces: Array.from({ length: 80 }, () => 'On and on. '), pauseMs: 25 }));
    await say('Tell me a long story');
    await reply().getByText('On and on.').first().waitFor();
    await page.getByRole('button', { name: 'Stop the reply' }).click();
    await reply().getByText('Stopped.').waitFor();
    await expect.poll(() => model.aborted).toBe(1);
    await say('Another one');
    await reply(1).getByText('On and on.').first().waitFor();
    await page.keyboard.press('Escape');
    await reply(1).getByText('Stopped.').waitFor();
    await expect.poll(() => model.aborted).toBe(2);
  });

  it('uses and keeps the settings', async () => {
    await open(fakeChatModel());
    await page.getByRole('button', { name: 'Settings' }).click();
    await page.getByLabel('Longest reply, in tokens').fill('33');
    await page.getByLabel('Seed').fill('');
    await page.getByLabel('Temperature').fill('0.2');
    await page.getByRole('radio', { name: 'Dark' }).check();
    await page.keyboard.press('Escape');
    await say('How do habits form?');
    await reply().getByText('cache bypass').waitFor();
    expect(model.calls[0].options).toMatchObject({ temperature: 0.2, maxTokens: 33 });
    expect(model.calls[0].options.seed).toBeUndefined();
    await page.reload();
    expect(await page.locator('html').getAttribute('data-theme')).toBe('dark');
    await page.getByRole('button', { name: 'Settings' }).click();
    expect(await page.getByLabel('Longest reply, in tokens').inputValue()).toBe('33');
    expect(await page.getByLabel('Seed').inputValue()).toBe('');
  });

  it("says what went wrong, in the server's words", async () => {
    await open(fakeChatModel({ pieces: [], failure: new Error('no') }));
    await say('How do habits form?');
    await page.getByRole('alert').getByText('The server could not answer this request.').waitFor();
  });

  it('asks for a key where the server wants one', async () => {
    await open(fakeChatModel(), [{ id: 'ann', key: 'right-key' }]);
    await page.getByText('This server asks for an API key.').waitFor();
    await page.getByRole('status').getByRole('button', { name: 'Settings' }).click();
    await page.getByLabel('API key').fill('right-key');
    await page.keyboard.press('Escape');
    await say('How do habits form?');
    await reply().getByText('cache miss').waitFor();
  });

  it('fits a narrow screen without scrolling sideways', async () => {
    await page.setViewportSize({ width: 320, height: 640 });
    await open(fakeChatModel());
    await say('How do habits form?');
    await reply().getByText('cache miss').waitFor();
    const overflow = await page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth');
    expect(overflow).toBe(0);
  });
});
