import * as tf from '@tensorflow/tfjs-core';
import { CausalLm, presets } from '@therapeutic-moe/model';
import { type ChatEvent, type ChatMessage, ContextLengthError } from '@therapeutic-moe/server';
import { describeOnBackends, expectClose } from '@therapeutic-moe/test-kit';
import { CHAT_SPECIAL_TOKENS, chatTokenizerConfig, Tokenizer, trainBpe } from '@therapeutic-moe/tokenizer';
import { expect, it } from 'vitest';
import { LanguageModel, type LanguageModelParts } from './language-model.js';

/** float32 sums over a few hundred tokens in another order. */
const NATS = 1e-3;

const corpus = [
  'sleep comes when the mind is quiet',
  'a walk in the morning helps the mind',
  'talk to a friend when worry comes',
];

const plain = { temperature: 0.7, topP: 1, repetitionPenalty: 1, maxTokens: 8, guidanceScale: 1 };

function tinyModel(
  maxPositionEmbeddings = 32,
  defaults = plain,
  sessions: Pick<LanguageModelParts, 'keptSessions' | 'kvCache'> = {},
): LanguageModel {
  const json = trainBpe(corpus, { vocabSize: 300, specialTokens: CHAT_SPECIAL_TOKENS });
  const tokenizer = Tokenizer.fromJson(json, chatTokenizerConfig(maxPositionEmbeddings));
  const config = presets.therapeutic({
    vocabSize: tokenizer.vocabSize,
    hiddenSize: 12,
    intermediateSize: 14,
    numHiddenLayers: 2,
    numAttentionHeads: 2,
    numKeyValueHeads: 1,
    headDim: 8, // int8 caches take multiples of 4
    maxPositionEmbeddings,
    initializerRange: 0.3,
  });
  const decoder = CausalLm.create(config, 7);
  return new LanguageModel({ id: 'tiny', decoder, tokenizer, defaults, revision: 'r1', ...sessions });
}

const options = { temperature: 0.8, topP: 1, maxTokens: 5, seed: 7, stop: [] };
const GUIDED = { ...plain, guidanceScale: 2 };
const ask = (content: string): ChatMessage[] => [{ role: 'user', content }];

async function eventsOf(model: LanguageModel, messages: ChatMessage[]): Promise<ChatEvent[]> {
  const events: ChatEvent[] = [];
  const { signal } = new AbortController();
  for await (const event of model.chat(messages, { ...options, maxTokens: 4 }, signal)) events.push(event);
  return events;
}

/** What was said so far, the reply to it, and the next question. */
function goOn(messages: ChatMessage[], reply: ChatEvent[], question: string): ChatMessage[] {
  const content = reply.map((event) => (event.type === 'text' ? event.text : '')).join('');
  return [...messages, { role: 'assistant', content }, ...ask(question)];
}

/** How many tokens each pass of the model's sessions reads from now on. */
function spyOnReads(model: LanguageModel): number[] {
  const reads: number[] = [];
  const createSession = model.decoder.createSession.bind(model.decoder);
  model.decoder.createSession = (sessionOptions) => {
    const session = createSession(sessionOptions);
    const append = session.append.bind(session);
    session.append = (ids) => {
      reads.push(ids.length);
      return append(ids);
    };
    return session;
  };
  return reads;
}

describeOnBackends('LanguageModel', () => {
  it('answers the same for the same seed, with usage and shares that sum to 1', async () => {
    const model = tinyModel();
    const answer = async () => {
      const events = [];
      for await (const event of model.chat(ask('sleep'), options, new AbortController().signal)) events.push(event);
      return events;
    };
    const [first, second] = [await answer(), await answer()];
    expect(second).toEqual(first);
    const done = first.at(-1)!;
    if (done.type !== 'done') throw new Error('no done event');
    expect(Object.keys(done.routing)).toEqual(['psychology', 'mental_health', 'bias_detection', 'general_therapeutic']);
    expect(Object.values(done.routing).reduce((a, b) => a + b)).toBeCloseTo(1, 6);
    expect(done.usage.completionTokens).toBeLessThanOrEqual(5);
    model.dispose();
  });

  it('keeps numTensors constant over requests, aborted requests and requests given up', async () => {
    const model = tinyModel();
    const request = async (stopAfter: 'end' | 'abort' | 'return') => {
      const controller = new AbortController();
      try {
        for await (const _ of model.chat(ask('quiet mind'), { ...options, maxTokens: 8 }, controller.signal)) {
          if (stopAfter === 'abort') controller.abort();
          if (stopAfter === 'return') break;
        }
      } catch (error) {
        expect(controller.signal.aborted, String(error)).toBe(true);
      }
    };
    await request('end');
    const before = tf.memory().numTensors;
    for (const way of ['end', 'abort', 'return', 'abort', 'end'] as const) await request(way);
    await model.score('a walk helps');
    await model.routing('a walk helps');
    expect(tf.memory().numTensors).toBe(before);
    model.dispose();
  });

  it.each([
    ['plain', plain],
    ['guided', GUIDED],
  ])('reads only what is new in a next turn, %s, and says what it says without', async (_, defaults) => {
    const [kept, fresh] = [tinyModel(256, defaults), tinyModel(256, defaults, { keptSessions: 0 })];
    const [few, all] = [spyOnReads(kept), spyOnReads(fresh)];
    const first = await eventsOf(kept, ask('sleep'));
    expect(first).toEqual(await eventsOf(fresh, ask('sleep')));
    const messages = goOn(ask('sleep'), first, 'a walk');
    for (const reads of [few, all]) reads.length = 0;
    expect(await eventsOf(kept, messages)).toEqual(await eventsOf(fresh, messages));
    const before = kept.tokenizer.encodeChat(ask('sleep'), { addGenerationPrompt: true });
    // The reply's text may be cut into other tokens than the model chose; the prompt before it never is read again.
    expect(all[0]! - few[0]!).toBeGreaterThanOrEqual(before.length);
    kept.dispose();
    fresh.dispose();
  });

  it('keeps conversations right that take turns or run at the same time', async () => {
    const [kept, fresh] = [tinyModel(256), tinyModel(256, plain, { keptSessions: 0 })];
    let talks = [ask('sleep'), ask('worry')];
    for (const atOnce of [false, true]) {
      const expected = [await eventsOf(fresh, talks[0]!), await eventsOf(fresh, talks[1]!)];
      const replies = atOnce
        ? await Promise.all(talks.map((talk) => eventsOf(kept, talk)))
        : [await eventsOf(kept, talks[0]!), await eventsOf(kept, talks[1]!)];
      expect(replies).toEqual(expected);
      talks = talks.map((talk, i) => goOn(talk, replies[i]!, 'a walk'));
    }
    kept.dispose();
    fresh.dispose();
  });

  it('keeps one conversation in memory at most, more where asked, and none once disposed', async () => {
    const atAll = tf.memory().numTensors;
    for (const [keptSessions, held] of [
      [undefined, 1],
      [2, 2],
    ] as const) {
      const model = tinyModel(256, plain, { keptSessions });
      const before = tf.memory().numTensors;
      await Promise.all(['sleep', 'a walk', 'worry'].map((text) => eventsOf(model, ask(text))));
      expect(tf.memory().numTensors - before).toBe(held * 2 * 2); // keys and values of two layers
      const abort = new AbortController();
      for await (const _ of model.chat(ask('sleep'), options, abort.signal)) {
        model.dispose(); // the session in use is freed when its reply ends
        break;
      }
      expect(tf.memory().numTensors).toBe(atAll);
    }
  });

  it('keeps keys and values in 8 bits where asked, turn after turn, and says so in its revision', async () => {
    const model = tinyModel(256, GUIDED, { kvCache: 'int8' });
    expect(model.revision).toBe('r1, guidance 2, int8 cache');
    const reply = await eventsOf(model, ask('sleep'));
    const sizes = spyOnReads(model);
    expect((await eventsOf(model, goOn(ask('sleep'), reply, 'quiet mind'))).at(-1)!.type).toBe('done');
    expect(sizes).toEqual([]); // the kept sessions went on, no new one was made
    model.dispose();
  });

  it('leans on the question when its defaults ask for guidance, says so in its revision, and leaves no tensor behind', async () => {
    const guided = tinyModel(32, { ...plain, guidanceScale: 3 });
    const text = async (model: LanguageModel) => {
      let all = '';
      for await (const piece of model.stream('sleep', { temperature: 0, maxTokens: 8 })) all += piece;
      return all;
    };
    expect(guided.revision).toBe('r1, guidance 3');
    const first = await text(guided);
    const before = tf.memory().numTensors;
    expect(await text(guided)).toBe(first);
    expect(tf.memory().numTensors).toBe(before);
    const unguided = tinyModel();
    expect(await text(unguided)).not.toBe(first);
    guided.dispose();
    unguided.dispose();
  });

  it('answers with its own defaults, guidance or none', async () => {
    for (const guidanceScale of [1, 3]) {
      const model = tinyModel(32, { ...plain, guidanceScale });
      const kinds = [];
      const chosen = { ...model.defaults, seed: 7, stop: [] };
      for await (const { type } of model.chat(ask('sleep'), chosen, new AbortController().signal)) kinds.push(type);
      expect(kinds.at(-1)).toBe('done');
      model.dispose();
    }
  });

  it('scores a text that fits as one pass does, and every token of a text that does not', async () => {
    const [short, long] = [tinyModel(32), tinyModel(512)];
    const text = 'talk to a friend when worry comes';
    const [a, b] = [await short.score(text), await long.score(text)];
    await expectClose([a.nats], [b.nats], NATS);
    expect(a).toMatchObject({ tokens: b.tokens, bytes: text.length });
    const many = corpus.join(' ').repeat(3);
    const windows = await short.score(many);
    expect(windows.tokens).toBe(short.tokenizer.encode(many).length);
    expect(windows.nats / windows.tokens).toBeGreaterThan(1);
    short.dispose();
    long.dispose();
  });

  it('scores replies only: the question changes the prediction, not what is counted', async () => {
    const model = tinyModel(128);
    const turn = (question: string) => [...ask(question), { role: 'assistant' as const, content: 'talk to a friend' }];
    const [a, b] = [
      await model.scoreReplies(turn('sleep')),
      await model.scoreReplies(turn('a long walk in the morning')),
    ];
    expect(a.tokens).toBe(b.tokens);
    expect(a.tokens).toBe(model.tokenizer.encode('talk to a friend').length + 1);
    expect(a.nats).not.toBeCloseTo(b.nats, 4);
    const opening = await model.scoreReplies([{ role: 'assistant', content: 'talk to a friend' }]);
    expect(opening.tokens).toBe(a.tokens);
    await expect(model.scoreReplies(ask('only a question'))).rejects.toThrow('no assistant turn');
    model.dispose();
  });

  it('refuses a conversation that leaves no room for a reply', async () => {
    const model = tinyModel(16);
    const events = model.chat(ask(corpus.join(' ')), options, new AbortController().signal);
    await expect(events[Symbol.asyncIterator]().next()).rejects.toThrow(ContextLengthError);
    model.dispose();
  });

  it('asks for room for the reply, 64 tokens at most', async () => {
    const prompt = tinyModel().tokenizer.encodeChat(ask('sleep'), { addGenerationPrompt: true }).length;
    const first = async (model: LanguageModel, maxTokens: number) => {
      const events = model.chat(ask('sleep'), { ...options, maxTokens }, new AbortController().signal);
      const reader = events[Symbol.asyncIterator]();
      await reader.next();
      await reader.return?.();
    };
    const [tight, enough] = [tinyModel(prompt + 63), tinyModel(prompt + 64)];
    await expect(first(tight, 64)).rejects.toThrow(
      `takes ${prompt} tokens and this model has room for ${prompt + 63}, reply included`,
    );
    await first(tight, 63);
    await first(enough, 500);
    tight.dispose();
    enough.dispose();
  });
});
